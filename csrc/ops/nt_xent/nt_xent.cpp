// nt_xent at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "nt_xent.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <array>

#include "../../common/checks.h"
#include "../../common/dispatch.h"
#include "nt_xent_math.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.nt_xent";
constexpr int64_t kPanelsPerTask = 4;

at::Tensor check_nt_xent(const at::Tensor& z, double temperature) {
  check_shape(kOp, "z", z, "(2N,D)", {-1, -1});
  check_dtype(kOp, "z", z, {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16});
  check_pairs(kOp, "z", z, "(2N,D)");
  check_temperature(kOp, temperature);
  return z.contiguous();
}

PanelShape shape_of(const at::Tensor& z) { return {z.size(0), z.size(1)}; }

// f(begin, end) on ranges of panels.
template <typename F>
void for_each_panel(PanelShape shape, F f) {
  at::parallel_for(0, shape.num_panels(), kPanelsPerTask, f);
}

// f(phase, begin, end) on ranges of tasks, one phase after another.
template <typename F>
void for_each_pair(PanelShape shape, F f) {
  const PairSchedule schedule(shape.num_panels());
  for (int64_t phase = 0; phase < schedule.num_phases(); ++phase)
    at::parallel_for(0, schedule.num_tasks(phase), 1,
                     [&](int64_t begin, int64_t end) { f(phase, begin, end); });
}

template <typename A>
void forward_cpu(NtXentForward<A> args, const at::Tensor& rows, A* loss) {
  const Contrast& contrast = args.contrast;
  at::Tensor sums = at::zeros({contrast.rows.num_panels() * PanelShape::kRows},
                              rows.options().dtype(at::kDouble));
  args.sums = write_pointer<double>(sums);
  if (contrast.is_square() && has_constant_shift(args.temperature)) {
    for_each_pair(contrast.columns, [&](int64_t phase, int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_sum_pairs_cpu(args, phase, begin, end));
    });
    for_each_panel(contrast.rows, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_row_loss_cpu(args, begin, end));
    });
  } else {
    at::parallel_for(0, contrast.rows.num_panels(), 1, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_log_sum_rows_cpu(args, begin, end));
    });
  }
  *loss = static_cast<A>(PYHANDPOSE_ISA_CALL(nt_xent_mean_cpu(args.row_loss, contrast)));
}

template <typename A>
void backward_cpu(const NtXentBackward<A>& args) {
  const Contrast& contrast = args.contrast;
  for_each_panel(contrast.columns, [&](int64_t begin, int64_t end) {
    PYHANDPOSE_ISA_CALL(nt_xent_weights_cpu(args, begin, end));
  });
  if (contrast.is_square())
    for_each_pair(contrast.columns, [&](int64_t phase, int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_gradient_pairs_cpu(args, phase, begin, end));
    });
  else
    at::parallel_for(0, contrast.rows.num_panels(), 1, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(nt_xent_gradient_rows_cpu(args, begin, end));
    });
  for_each_panel(contrast.rows, [&](int64_t begin, int64_t end) {
    PYHANDPOSE_ISA_CALL(nt_xent_positives_cpu(args, begin, end));
  });
}

// The kernels on the device of `tensor`: cuda(stream) or cpu().
template <typename Cpu, typename Cuda>
void on_device_of(const at::Tensor& tensor, Cpu cpu, [[maybe_unused]] Cuda cuda) {
#if defined(PYHANDPOSE_WITH_CUDA)
  if (tensor.is_cuda()) {
    const CudaScope scope(tensor);
    return cuda(scope.stream);
  }
#endif
  cpu();
}

#if defined(PYHANDPOSE_WITH_CUDA)
// The memory of the tensor cores' operands, filled. One operand where rows and columns are the
// same; none where the exact path is taken: float64, and devices before compute capability 8.0.
struct Operands {
  at::Tensor row_bytes, column_bytes;
  NtXentOperands args;

  Operands(const at::Tensor& rows, const at::Tensor& columns, const Contrast& contrast,
           Precision precision, cudaStream_t stream) {
    if (rows.scalar_type() != at::kFloat || precision == Precision::kFfma || !has_mma()) return;
    args.precision = precision;
    args.columns = prepare(columns, contrast.columns, precision, column_bytes, stream);
    args.rows = rows.is_same(columns) ? args.columns
                                      : prepare(rows, contrast.rows, precision, row_bytes, stream);
  }

  static NtXentOperand prepare(const at::Tensor& panels, PanelShape shape, Precision precision,
                               at::Tensor& bytes, cudaStream_t stream) {
    const OperandShape packed(shape.num_rows, shape.dim, element_bytes(precision),
                              num_parts(precision));
    bytes = at::empty({packed.num_bytes()}, panels.options().dtype(at::kByte));
    const NtXentOperand operand{write_pointer<unsigned char>(bytes), packed};
    nt_xent_prepare_cuda(read_pointer<float>(panels), shape, operand, precision, stream);
    return operand;
  }

  // 1 where tensor cores are not used.
  int num_splits(ColumnSplits splits) const {
    return args.precision == Precision::kFfma ? 1 : splits.count;
  }
};

template <typename A>
void forward_cuda(NtXentForward<A> args, const at::Tensor& rows, const at::Tensor& columns,
                  Precision precision, A* loss, cudaStream_t stream) {
  const Operands operands(rows, columns, args.contrast, precision, stream);
  const int64_t num_rows = args.contrast.rows.num_rows;
  at::Tensor sums;
  if (operands.args.precision != Precision::kFfma)
    args.band_rows = nt_xent_band_rows(args.contrast, args.temperature);
  if (args.band_rows > 0) {
    sums = at::empty({BandPairs(num_rows, args.band_rows).num_bands, num_rows},
                     rows.options().dtype(at::kFloat));
    args.band_sums = write_pointer<float>(sums);
  } else {
    args.num_splits = operands.num_splits(nt_xent_mma_forward_splits(args.contrast));
    sums = at::empty({args.num_splits, num_rows}, rows.options().dtype(at::kDouble));
    args.sums = write_pointer<double>(sums);
  }
  nt_xent_forward_cuda(args, operands.args, loss, stream);
}

template <typename A>
void backward_cuda(NtXentBackward<A> args, const at::Tensor& rows, const at::Tensor& columns,
                   Precision precision, cudaStream_t stream) {
  const Operands operands(rows, columns, args.contrast, precision, stream);
  args.num_splits = operands.num_splits(nt_xent_mma_backward_splits(args.contrast));
  at::Tensor parts = at::empty({args.num_splits - 1, rows.numel()}, rows.options());
  args.grad_parts = write_pointer<A>(parts);
  nt_xent_backward_cuda(args, operands.args, stream);
}
#endif

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& z, double temperature,
                                           std::string_view precision) {
  const at::Tensor rows = check_nt_xent(z, temperature);
  const at::Tensor panels = std::get<0>(nt_xent_pack(rows));
  const PanelShape shape = shape_of(rows);
  return nt_xent_forward_panels(panels, panels, {shape, shape}, temperature,
                                check_precision(kOp, precision));
}

at::Tensor backward(const at::Tensor& grad_loss, const at::Tensor& z, const at::Tensor& log_sums,
                    double temperature, std::string_view precision) {
  const at::Tensor rows = check_nt_xent(z, temperature);
  const auto [panels, inverse_norm] = nt_xent_pack(rows);
  const PanelShape shape = shape_of(rows);
  const at::Tensor grad_panels = nt_xent_backward_panels(
      panels, panels, log_sums, {shape, shape}, temperature, check_precision(kOp, precision));
  return nt_xent_unpack(grad_loss, rows, panels, inverse_norm, grad_panels,
                        temperature * static_cast<double>(shape.num_rows));
}

}  // namespace

at::Tensor nt_xent_new_panels(const at::Tensor& like, PanelShape shape, bool zero) {
  const std::array<int64_t, 3> sizes{shape.num_panels(), shape.width(), PanelShape::kRows};
  return zero ? at::zeros(sizes, like.options()) : at::empty(sizes, like.options());
}

std::tuple<at::Tensor, at::Tensor> nt_xent_pack(const at::Tensor& z) {
  const PanelShape shape = shape_of(z);
  at::Tensor inverse_norm =
      at::empty({shape.num_rows}, z.options().dtype(accumulate_dtype(z.scalar_type())));
  const bool zero = !z.is_cuda();  // the CUDA kernel writes padding itself
  at::Tensor panels = nt_xent_new_panels(inverse_norm, shape, zero);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const NtXentPack<T> args{read_pointer<T>(z), write_pointer<acc_t<T>>(panels),
                             write_pointer<acc_t<T>>(inverse_norm), shape};
    on_device_of(
        z,
        [&] {
          for_each_panel(shape, [&](int64_t begin, int64_t end) {
            PYHANDPOSE_ISA_CALL(nt_xent_pack_cpu(args, begin, end));
          });
        },
        [&](auto stream) { nt_xent_pack_cuda(args, stream); });
  });
  return {panels, inverse_norm};
}

std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels(const at::Tensor& rows,
                                                          const at::Tensor& columns,
                                                          const Contrast& contrast,
                                                          double temperature, Precision precision) {
  const auto precise = rows.options().dtype(at::kDouble);
  at::Tensor log_sums = at::empty({contrast.rows.num_rows}, precise);
  at::Tensor row_loss = at::empty({contrast.rows.num_rows}, precise);
  at::Tensor loss = at::empty({}, rows.options());
  dispatch_full_precision(rows.scalar_type(), [&](auto tag) {
    using A = decltype(tag);
    const NtXentForward<A> args{read_pointer<A>(rows),
                                read_pointer<A>(columns),
                                nullptr,
                                write_pointer<double>(log_sums),
                                write_pointer<double>(row_loss),
                                contrast,
                                temperature};
    A* mean = write_pointer<A>(loss);
    on_device_of(
        rows, [&] { forward_cpu(args, rows, mean); },
        [&](auto stream) { forward_cuda(args, rows, columns, precision, mean, stream); });
  });
  return {loss, log_sums};
}

at::Tensor nt_xent_loss_of_panels(const at::Tensor& rows, const at::Tensor& columns,
                                  const at::Tensor& log_sums, const Contrast& contrast,
                                  double temperature) {
  at::Tensor row_loss = at::empty({contrast.rows.num_rows}, log_sums.options());
  at::Tensor loss = at::empty({}, rows.options());
  dispatch_full_precision(rows.scalar_type(), [&](auto tag) {
    using A = decltype(tag);
    const NtXentBackward<A> args{read_pointer<A>(rows),
                                 read_pointer<A>(columns),
                                 read_pointer<double>(log_sums),
                                 nullptr,
                                 nullptr,
                                 contrast,
                                 temperature};
    double* row_losses = write_pointer<double>(row_loss);
    A* mean = write_pointer<A>(loss);
    on_device_of(
        rows,
        [&] {
          for_each_panel(contrast.rows, [&](int64_t begin, int64_t end) {
            PYHANDPOSE_ISA_CALL(nt_xent_given_loss_cpu(args, row_losses, begin, end));
          });
          *mean = static_cast<A>(PYHANDPOSE_ISA_CALL(nt_xent_mean_cpu(row_losses, contrast)));
        },
        [&](auto stream) { nt_xent_given_loss_cuda(args, row_losses, mean, stream); });
  });
  return loss;
}

at::Tensor nt_xent_backward_panels(const at::Tensor& rows, const at::Tensor& columns,
                                   const at::Tensor& log_sums, const Contrast& contrast,
                                   double temperature, Precision precision) {
  at::Tensor weights = at::empty({OperandShape::padded(contrast.columns.num_rows)}, rows.options());
  at::Tensor grad_panels = rows.is_cuda() ? at::empty_like(rows) : at::zeros_like(rows);
  dispatch_full_precision(rows.scalar_type(), [&](auto tag) {
    using A = decltype(tag);
    const NtXentBackward<A> args{read_pointer<A>(rows),
                                 read_pointer<A>(columns),
                                 read_pointer<double>(log_sums),
                                 write_pointer<A>(weights),
                                 write_pointer<A>(grad_panels),
                                 contrast,
                                 temperature};
    on_device_of(
        rows, [&] { backward_cpu(args); },
        [&](auto stream) { backward_cuda(args, rows, columns, precision, stream); });
  });
  return grad_panels;
}

at::Tensor nt_xent_unpack(const at::Tensor& grad_loss, const at::Tensor& z,
                          const at::Tensor& panels, const at::Tensor& inverse_norm,
                          const at::Tensor& grad_panels, double divisor) {
  const PanelShape shape = shape_of(z);
  at::Tensor grad_z = at::empty_like(z);
  dispatch_floating(z.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const NtXentUnpack<T> args{read_pointer<A>(panels),
                               read_pointer<A>(grad_panels),
                               read_pointer<A>(inverse_norm),
                               read_pointer<A>(grad_loss),
                               write_pointer<T>(grad_z),
                               shape,
                               divisor};
    on_device_of(
        z,
        [&] {
          for_each_panel(shape, [&](int64_t begin, int64_t end) {
            PYHANDPOSE_ISA_CALL(nt_xent_unpack_cpu(args, begin, end));
          });
        },
        [&](auto stream) { nt_xent_unpack_cuda(args, stream); });
  });
  return grad_z;
}

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def(
      "nt_xent(Tensor z, float temperature, str precision='ffma') -> "
      "(Tensor loss, Tensor log_sums)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "nt_xent_backward(Tensor grad_loss, Tensor z, Tensor log_sums, float temperature, "
      "str precision='ffma') -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("nt_xent", &forward);
  m.impl("nt_xent_backward", &backward);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("nt_xent", &forward);
  m.impl("nt_xent_backward", &backward);
}
#endif

}  // namespace pyhandpose
