// latent_affine at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "latent_affine.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "../../common/checks.h"
#include "../../common/dispatch.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.latent_affine";
constexpr int64_t kSamplesPerTask = 64;

struct Inputs {
  at::Tensor latent, affine;  // contiguous
  Convention convention;
};

Inputs check_latent_affine(const at::Tensor& latent, const at::Tensor& affine,
                           std::string_view convention) {
  check_shape(kOp, "latent", latent, "(B,P,2)", {-1, -1, 2});
  check_latent_length(kOp, "latent", latent);
  check_dtype(kOp, "latent", latent, {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16});
  check_shape(kOp, "affine", affine, "(B,2,3) with the latent's B", {latent.size(0), 2, 3});
  check_dtype(kOp, "affine", affine, {accumulate_dtype(latent.scalar_type())});
  check_same_device(kOp, "affine", affine, "latent", latent);
  return {latent.contiguous(), affine.contiguous(), check_convention(kOp, convention)};
}

template <typename T>
LatentAffineForward<T> forward_args(const Inputs& in, at::Tensor& out) {
  return {read_pointer<T>(in.latent), read_pointer<acc_t<T>>(in.affine),
          write_pointer<T>(out),      in.latent.size(0),
          in.latent.size(1),          in.convention};
}

template <typename T>
LatentAffineBackward<T> backward_args(const Inputs& in, const at::Tensor& grad_out,
                                      at::Tensor& grad_latent) {
  return {read_pointer<T>(grad_out),
          read_pointer<T>(in.latent),
          read_pointer<acc_t<T>>(in.affine),
          write_pointer<T>(grad_latent),
          in.latent.size(0),
          in.latent.size(1),
          in.convention};
}

at::Tensor forward_cpu(const at::Tensor& latent, const at::Tensor& affine,
                       std::string_view convention) {
  const Inputs in = check_latent_affine(latent, affine, convention);
  at::Tensor out = at::empty_like(in.latent);
  dispatch_floating(latent.scalar_type(), [&](auto tag) {
    const auto args = forward_args<decltype(tag)>(in, out);
    at::parallel_for(0, args.num_samples, kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(latent_affine_forward_cpu(args, begin, end));
    });
  });
  return out;
}

at::Tensor backward_cpu(const at::Tensor& grad_out, const at::Tensor& latent,
                        const at::Tensor& affine, std::string_view convention) {
  const Inputs in = check_latent_affine(latent, affine, convention);
  const at::Tensor grad = grad_out.contiguous();
  at::Tensor grad_latent = at::empty_like(in.latent);
  dispatch_floating(latent.scalar_type(), [&](auto tag) {
    const auto args = backward_args<decltype(tag)>(in, grad, grad_latent);
    at::parallel_for(0, args.num_samples, kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(latent_affine_backward_cpu(args, begin, end));
    });
  });
  return grad_latent;
}

#if defined(PYHANDPOSE_WITH_CUDA)
at::Tensor forward_cuda(const at::Tensor& latent, const at::Tensor& affine,
                        std::string_view convention) {
  const CudaScope scope(latent);
  const Inputs in = check_latent_affine(latent, affine, convention);
  at::Tensor out = at::empty_like(in.latent);
  dispatch_floating(latent.scalar_type(), [&](auto tag) {
    latent_affine_forward_cuda(forward_args<decltype(tag)>(in, out), scope.stream);
  });
  return out;
}

at::Tensor backward_cuda(const at::Tensor& grad_out, const at::Tensor& latent,
                         const at::Tensor& affine, std::string_view convention) {
  const CudaScope scope(latent);
  const Inputs in = check_latent_affine(latent, affine, convention);
  const at::Tensor grad = grad_out.contiguous();
  at::Tensor grad_latent = at::empty_like(in.latent);
  dispatch_floating(latent.scalar_type(), [&](auto tag) {
    latent_affine_backward_cuda(backward_args<decltype(tag)>(in, grad, grad_latent), scope.stream);
  });
  return grad_latent;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def("latent_affine(Tensor latent, Tensor affine, str convention) -> Tensor",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "latent_affine_backward(Tensor grad_out, Tensor latent, Tensor affine, str convention) -> "
      "Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("latent_affine", &forward_cpu);
  m.impl("latent_affine_backward", &backward_cpu);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("latent_affine", &forward_cuda);
  m.impl("latent_affine_backward", &backward_cuda);
}
#endif

}  // namespace pyhandpose
