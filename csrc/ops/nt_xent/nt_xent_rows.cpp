// nt_xent_rows at torch's boundary: a part of the rows against all columns, for data-parallel
// ranks.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "../../common/checks.h"
#include "../../common/dispatch.h"
#include "nt_xent.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.nt_xent_rows";
constexpr const char* kLogSums = "pyhandpose.nt_xent_log_sums";

struct Inputs {
  at::Tensor rows, columns, itself, positive;  // contiguous
  double temperature;

  PanelShape row_shape() const { return {rows.size(0), rows.size(1)}; }
  Contrast contrast() const {
    return {row_shape(),
            {columns.size(0), columns.size(1)},
            read_pointer<int64_t>(itself),
            read_pointer<int64_t>(positive)};
  }
};

void check_index(const char* op, const char* argument, const at::Tensor& index,
                 const at::Tensor& rows) {
  check_shape(op, argument, index, "(m,) with rows' m", {rows.size(0)});
  check_dtype(op, argument, index, {at::kLong});
  check_same_device(op, argument, index, "rows", rows);
}

Inputs check_rows(const char* op, const at::Tensor& rows, const at::Tensor& columns,
                  const at::Tensor& itself, const at::Tensor& positive, double temperature) {
  check_shape(op, "rows", rows, "(m,D)", {-1, -1});
  check_dtype(op, "rows", rows, {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16});
  TORCH_CHECK_VALUE(rows.size(0) >= 1 && rows.size(1) >= 1, op,
                    ": argument 'rows' expected shape (m,D) with m >= 1 and D >= 1, got ",
                    describe_shape(rows));
  check_shape(op, "columns", columns, "(M,D) with rows' D", {-1, rows.size(1)});
  check_dtype(op, "columns", columns, {rows.scalar_type()});
  check_same_device(op, "columns", columns, "rows", rows);
  check_pairs(op, "columns", columns, "(2N,D)");
  check_index(op, "itself", itself, rows);
  check_index(op, "positive", positive, rows);
  check_temperature(op, temperature);
  return {rows.contiguous(), columns.contiguous(), itself.contiguous(), positive.contiguous(),
          temperature};
}

at::Tensor check_log_sums(const char* op, const at::Tensor& log_sums, const Inputs& in) {
  check_shape(op, "log_sums", log_sums, "(M,) with columns' M", {in.columns.size(0)});
  check_dtype(op, "log_sums", log_sums, {at::kDouble});
  check_same_device(op, "log_sums", log_sums, "rows", in.rows);
  return log_sums.contiguous();
}

at::Tensor panels_of(const at::Tensor& z) { return std::get<0>(nt_xent_pack(z)); }

at::Tensor log_sums_of_rows(const at::Tensor& rows, const at::Tensor& columns,
                            const at::Tensor& itself, const at::Tensor& positive,
                            double temperature, std::string_view precision) {
  const Inputs in = check_rows(kLogSums, rows, columns, itself, positive, temperature);
  return std::get<1>(nt_xent_forward_panels(panels_of(in.rows), panels_of(in.columns),
                                            in.contrast(), temperature,
                                            check_precision(kLogSums, precision)));
}

at::Tensor loss_of_rows(const at::Tensor& rows, const at::Tensor& columns, const at::Tensor& itself,
                        const at::Tensor& positive, const at::Tensor& log_sums, double temperature,
                        std::string_view precision) {
  const Inputs in = check_rows(kOp, rows, columns, itself, positive, temperature);
  check_precision(kOp, precision);  // forward is one product a row: in full precision
  return nt_xent_loss_of_panels(panels_of(in.rows), panels_of(in.columns),
                                check_log_sums(kOp, log_sums, in), in.contrast(), temperature);
}

at::Tensor gradient_of_rows(const at::Tensor& grad_loss, const at::Tensor& rows,
                            const at::Tensor& columns, const at::Tensor& itself,
                            const at::Tensor& positive, const at::Tensor& log_sums,
                            double temperature, std::string_view precision) {
  const Inputs in = check_rows(kOp, rows, columns, itself, positive, temperature);
  const auto [panels, inverse_norm] = nt_xent_pack(in.rows);
  const at::Tensor grad_panels =
      nt_xent_backward_panels(panels, panels_of(in.columns), check_log_sums(kOp, log_sums, in),
                              in.contrast(), temperature, check_precision(kOp, precision));
  return nt_xent_unpack(grad_loss, in.rows, panels, inverse_norm, grad_panels,
                        temperature * static_cast<double>(in.columns.size(0)));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def(
      "nt_xent_log_sums(Tensor rows, Tensor columns, Tensor itself, Tensor positive, "
      "float temperature, str precision='ffma') -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "nt_xent_rows(Tensor rows, Tensor columns, Tensor itself, Tensor positive, Tensor log_sums, "
      "float temperature, str precision='ffma') -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "nt_xent_rows_backward(Tensor grad_loss, Tensor rows, Tensor columns, Tensor itself, "
      "Tensor positive, Tensor log_sums, float temperature, str precision='ffma') -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("nt_xent_log_sums", &log_sums_of_rows);
  m.impl("nt_xent_rows", &loss_of_rows);
  m.impl("nt_xent_rows_backward", &gradient_of_rows);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("nt_xent_log_sums", &log_sums_of_rows);
  m.impl("nt_xent_rows", &loss_of_rows);
  m.impl("nt_xent_rows_backward", &gradient_of_rows);
}
#endif

}  // namespace pyhandpose
