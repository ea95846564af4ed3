// equivariant_nt_xent at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "equivariant_nt_xent.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "../../common/checks.h"
#include "../../common/dispatch.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.equivariant_nt_xent";
constexpr int64_t kPanelsPerTask = 4;

struct Inputs {
  at::Tensor z, affine;  // contiguous
  PanelShape shape;
  double temperature;
  Convention convention;

  Contrast contrast() const { return {shape, shape}; }
  double divisor() const { return temperature * static_cast<double>(shape.num_rows); }
};

Inputs check_equivariant_nt_xent(const at::Tensor& z, const at::Tensor& affine, double temperature,
                                 std::string_view convention) {
  check_shape(kOp, "z", z, "(2N,2P)", {-1, -1});
  check_dtype(kOp, "z", z, {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16});
  check_pairs(kOp, "z", z, "(2N,2P)");
  TORCH_CHECK_VALUE(z.size(1) % 2 == 0, kOp, ": argument 'z' expected shape (2N,2P): rows of P ",
                    "points (x, y), got ", describe_shape(z));
  check_latent_length(kOp, "z", z);
  check_shape(kOp, "affine", affine, "(2N,2,3) with z's 2N", {z.size(0), 2, 3});
  check_dtype(kOp, "affine", affine, {accumulate_dtype(z.scalar_type())});
  check_same_device(kOp, "affine", affine, "z", z);
  check_temperature(kOp, temperature);
  return {z.contiguous(),
          affine.contiguous(),
          {z.size(0), z.size(1)},
          temperature,
          check_convention(kOp, convention)};
}

// The panels of the moved-back latents, and 1 / their norms.
struct Packed {
  at::Tensor panels, inverse_norm;

  explicit Packed(const Inputs& in)
      : panels(nt_xent_new_panels(in.affine, in.shape)),
        inverse_norm(at::empty({in.shape.num_rows}, in.affine.options())) {}

  template <typename T>
  EquivariantPack<T> pack_args(const Inputs& in) {
    return {{read_pointer<T>(in.z), write_pointer<acc_t<T>>(panels),
             write_pointer<acc_t<T>>(inverse_norm), in.shape},
            read_pointer<acc_t<T>>(in.affine),
            in.convention};
  }

  template <typename T>
  EquivariantUnpack<T> unpack_args(const Inputs& in, const at::Tensor& grad_panels,
                                   const at::Tensor& grad_loss, at::Tensor& grad_z) {
    return {{read_pointer<acc_t<T>>(panels), read_pointer<acc_t<T>>(grad_panels),
             read_pointer<acc_t<T>>(inverse_norm), read_pointer<acc_t<T>>(grad_loss),
             write_pointer<T>(grad_z), in.shape, in.divisor()},
            read_pointer<T>(in.z),
            read_pointer<acc_t<T>>(in.affine),
            in.convention};
  }
};

Packed pack_cpu(const Inputs& in) {
  Packed packed(in);
  dispatch_floating(in.z.scalar_type(), [&](auto tag) {
    const auto args = packed.pack_args<decltype(tag)>(in);
    at::parallel_for(0, in.shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(equivariant_nt_xent_pack_cpu(args, begin, end));
    });
  });
  return packed;
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& z, const at::Tensor& affine,
                                               double temperature, std::string_view convention,
                                               std::string_view precision) {
  const Inputs in = check_equivariant_nt_xent(z, affine, temperature, convention);
  const Packed packed = pack_cpu(in);
  return nt_xent_forward_panels(packed.panels, packed.panels, in.contrast(), temperature,
                                check_precision(kOp, precision));
}

at::Tensor backward_cpu(const at::Tensor& grad_loss, const at::Tensor& z, const at::Tensor& affine,
                        const at::Tensor& log_sums, double temperature, std::string_view convention,
                        std::string_view precision) {
  const Inputs in = check_equivariant_nt_xent(z, affine, temperature, convention);
  Packed packed = pack_cpu(in);
  const at::Tensor grad_panels =
      nt_xent_backward_panels(packed.panels, packed.panels, log_sums, in.contrast(), temperature,
                              check_precision(kOp, precision));
  at::Tensor grad_z = at::empty_like(in.z);
  dispatch_floating(in.z.scalar_type(), [&](auto tag) {
    const auto args = packed.unpack_args<decltype(tag)>(in, grad_panels, grad_loss, grad_z);
    at::parallel_for(0, in.shape.num_panels(), kPanelsPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(equivariant_nt_xent_unpack_cpu(args, begin, end));
    });
  });
  return grad_z;
}

#if defined(PYHANDPOSE_WITH_CUDA)
Packed pack_cuda(const Inputs& in, cudaStream_t stream) {
  Packed packed(in);
  dispatch_floating(in.z.scalar_type(), [&](auto tag) {
    equivariant_nt_xent_pack_cuda(packed.pack_args<decltype(tag)>(in), stream);
  });
  return packed;
}

std::tuple<at::Tensor, at::Tensor> forward_cuda(const at::Tensor& z, const at::Tensor& affine,
                                                double temperature, std::string_view convention,
                                                std::string_view precision) {
  const CudaScope scope(z);
  const Inputs in = check_equivariant_nt_xent(z, affine, temperature, convention);
  const Packed packed = pack_cuda(in, scope.stream);
  return nt_xent_forward_panels(packed.panels, packed.panels, in.contrast(), temperature,
                                check_precision(kOp, precision));
}

at::Tensor backward_cuda(const at::Tensor& grad_loss, const at::Tensor& z, const at::Tensor& affine,
                         const at::Tensor& log_sums, double temperature,
                         std::string_view convention, std::string_view precision) {
  const CudaScope scope(z);
  const Inputs in = check_equivariant_nt_xent(z, affine, temperature, convention);
  Packed packed = pack_cuda(in, scope.stream);
  const at::Tensor grad_panels =
      nt_xent_backward_panels(packed.panels, packed.panels, log_sums, in.contrast(), temperature,
                              check_precision(kOp, precision));
  at::Tensor grad_z = at::empty_like(in.z);
  dispatch_floating(in.z.scalar_type(), [&](auto tag) {
    equivariant_nt_xent_unpack_cuda(
        packed.unpack_args<decltype(tag)>(in, grad_panels, grad_loss, grad_z), scope.stream);
  });
  return grad_z;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def(
      "equivariant_nt_xent(Tensor z, Tensor affine, float temperature, str convention, str "
      "precision='ffma') -> "
      "(Tensor loss, Tensor log_sums)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "equivariant_nt_xent_backward(Tensor grad_loss, Tensor z, Tensor affine, Tensor log_sums, "
      "float temperature, str convention, str precision='ffma') -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("equivariant_nt_xent", &forward_cpu);
  m.impl("equivariant_nt_xent_backward", &backward_cpu);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("equivariant_nt_xent", &forward_cuda);
  m.impl("equivariant_nt_xent_backward", &backward_cuda);
}
#endif

}  // namespace pyhandpose
