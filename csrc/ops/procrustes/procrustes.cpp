// procrustes at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "procrustes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "../../common/checks.h"
#include "../../common/dispatch.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.procrustes";
constexpr int64_t kSamplesPerTask = 64;

using OptionalTensor = std::optional<at::Tensor>;
using Similarity = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

struct Inputs {
  at::Tensor source, target;  // contiguous
  OptionalTensor weights;     // contiguous
  at::IntArrayRef batch;      // the leading extents, of `source`
  int64_t num_samples, num_points;
};

Inputs check_procrustes(const at::Tensor& source, const at::Tensor& target,
                        const OptionalTensor& weights) {
  TORCH_CHECK_VALUE(source.dim() >= 2 && source.size(-1) == 3, kOp,
                    ": argument 'source' expected shape (...,N,3), got ", describe_shape(source));
  TORCH_CHECK_VALUE(target.sizes() == source.sizes(), kOp,
                    ": argument 'target' expected the shape ", describe_shape(source),
                    " of 'source', got ", describe_shape(target),
                    "; leading extents do not broadcast: expand them first");
  check_dtype(kOp, "source", source, {at::kDouble, at::kFloat});
  check_dtype(kOp, "target", target, {source.scalar_type()});
  check_same_device(kOp, "target", target, "source", source);
  OptionalTensor contiguous_weights;
  if (weights.has_value()) {
    TORCH_CHECK_VALUE(weights->sizes() == source.sizes().slice(0, source.dim() - 1), kOp,
                      ": argument 'weights' expected shape (...,N) for a source of ",
                      describe_shape(source), ", got ", describe_shape(*weights));
    check_dtype(kOp, "weights", *weights, {source.scalar_type()});
    check_same_device(kOp, "weights", *weights, "source", source);
    contiguous_weights = weights->contiguous();
  }
  const at::IntArrayRef batch = source.sizes().slice(0, source.dim() - 2);
  return {source.contiguous(),           target.contiguous(), contiguous_weights, batch,
          c10::multiply_integers(batch), source.size(-2)};
}

// (..., extents) of the source's dtype and device.
at::Tensor allocate(const Inputs& in, at::IntArrayRef extents) {
  std::vector<int64_t> sizes(in.batch.begin(), in.batch.end());
  sizes.insert(sizes.end(), extents.begin(), extents.end());
  return at::empty(sizes, in.source.options());
}

// Keeps a contiguous copy alive in `held`; null where there is no tensor.
template <typename T>
const T* optional_pointer(const OptionalTensor& tensor, at::Tensor& held) {
  if (!tensor.has_value()) return nullptr;
  held = tensor->contiguous();
  return read_pointer<T>(held);
}

template <typename T>
PointSets<T> point_sets(const Inputs& in) {
  return {read_pointer<T>(in.source), read_pointer<T>(in.target),
          in.weights.has_value() ? read_pointer<T>(*in.weights) : nullptr, in.num_samples,
          in.num_points};
}

// Runs a kernel over all samples on the tensor's device.
struct CpuRunner {
  explicit CpuRunner(const at::Tensor&) {}
  template <typename T>
  void operator()(const ProcrustesForward<T>& args) const {
    at::parallel_for(0, args.sets.num_samples, kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(procrustes_forward_cpu(args, begin, end));
      if (args.aligned != nullptr)
        PYHANDPOSE_ISA_CALL(procrustes_aligned_cpu(args.fitted(), begin, end));
    });
  }
  template <typename T>
  void operator()(const ProcrustesAligned<T>& args) const {
    at::parallel_for(0, args.num_samples, kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(procrustes_aligned_cpu(args, begin, end));
    });
  }
  template <typename T>
  void operator()(const ProcrustesBackward<T>& args) const {
    at::parallel_for(0, args.sets.num_samples, kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(procrustes_backward_cpu(args, begin, end));
    });
  }
};

#if defined(PYHANDPOSE_WITH_CUDA)
struct CudaRunner {
  explicit CudaRunner(const at::Tensor& tensor) : scope(tensor) {}
  template <typename T>
  void operator()(const ProcrustesForward<T>& args) const {
    procrustes_forward_cuda(args, scope.stream);
  }
  template <typename T>
  void operator()(const ProcrustesBackward<T>& args) const {
    procrustes_backward_cuda(args, scope.stream);
  }
  CudaScope scope;
};
#endif

template <typename Runner>
Similarity forward(const at::Tensor& source, const at::Tensor& target,
                   const OptionalTensor& weights, bool with_scale, bool allow_reflection,
                   bool with_aligned) {
  const Runner run(source);
  const Inputs in = check_procrustes(source, target, weights);
  at::Tensor rotation = allocate(in, {3, 3}), scale = allocate(in, {});
  at::Tensor translation = allocate(in, {3}), conditioning = allocate(in, {});
  at::Tensor aligned = with_aligned ? at::empty_like(in.source, at::MemoryFormat::Contiguous)
                                    : at::empty({0}, in.source.options());
  dispatch_full_precision(source.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    run(ProcrustesForward<T>{point_sets<T>(in), write_pointer<T>(rotation), write_pointer<T>(scale),
                             write_pointer<T>(translation), write_pointer<T>(conditioning),
                             with_aligned ? write_pointer<T>(aligned) : nullptr, with_scale,
                             allow_reflection});
  });
  return {rotation, scale, translation, conditioning, aligned};
}

// The aligned points of a fit that `forward` has made without them; target, weights and
// conditioning are there for the gradient, which goes through the fit to all inputs.
at::Tensor aligned_cpu(const at::Tensor& source, const at::Tensor& target,
                       const OptionalTensor& weights, const at::Tensor& rotation,
                       const at::Tensor& scale, const at::Tensor& translation, const at::Tensor&,
                       bool) {
  const CpuRunner run(source);
  const Inputs in = check_procrustes(source, target, weights);
  const at::Tensor R = rotation.contiguous(), k = scale.contiguous(), t = translation.contiguous();
  at::Tensor out = at::empty_like(in.source, at::MemoryFormat::Contiguous);
  dispatch_full_precision(source.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    run(ProcrustesAligned<T>{read_pointer<T>(in.source), read_pointer<T>(R), read_pointer<T>(k),
                             read_pointer<T>(t), write_pointer<T>(out), in.num_samples,
                             in.num_points});
  });
  return out;
}

template <typename Runner>
Gradients backward(const OptionalTensor& grad_rotation, const OptionalTensor& grad_scale,
                   const OptionalTensor& grad_translation, const OptionalTensor& grad_aligned,
                   const at::Tensor& source, const at::Tensor& target,
                   const OptionalTensor& weights, const at::Tensor& rotation,
                   const at::Tensor& scale, const at::Tensor& conditioning, bool with_scale,
                   std::array<bool, 3> needed) {
  const Runner run(source);
  const Inputs in = check_procrustes(source, target, weights);
  const at::Tensor R = rotation.contiguous(), k = scale.contiguous();
  const at::Tensor condition = conditioning.contiguous();
  at::Tensor held[4];
  at::Tensor grads[3];
  for (int i = 0; i < 3; ++i) {
    const at::Tensor& like = i == 0   ? in.source
                             : i == 1 ? in.target
                                      : in.weights.value_or(in.source);
    const bool wanted = needed[i] && (i < 2 || in.weights.has_value());
    grads[i] = wanted ? at::empty_like(like, at::MemoryFormat::Contiguous)
                      : at::empty({0}, in.source.options());
    needed[i] = wanted;
  }
  dispatch_full_precision(source.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const auto wanted_pointer = [&](int i) {
      return needed[i] ? write_pointer<T>(grads[i]) : nullptr;
    };
    run(ProcrustesBackward<T>{
        point_sets<T>(in), read_pointer<T>(R), read_pointer<T>(k), read_pointer<T>(condition),
        optional_pointer<T>(grad_rotation, held[0]), optional_pointer<T>(grad_scale, held[1]),
        optional_pointer<T>(grad_translation, held[2]), optional_pointer<T>(grad_aligned, held[3]),
        wanted_pointer(0), wanted_pointer(1), wanted_pointer(2), with_scale});
  });
  return {grads[0], grads[1], grads[2]};
}

template <typename Runner>
void register_kernels(torch::Library& m) {
  m.impl("procrustes", &forward<Runner>);
  m.impl("procrustes_backward", &backward<Runner>);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def(
      "procrustes(Tensor source, Tensor target, Tensor? weights, bool with_scale, "
      "bool allow_reflection, bool with_aligned) -> (Tensor rotation, Tensor scale, "
      "Tensor translation, Tensor conditioning, Tensor aligned)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "procrustes_aligned(Tensor source, Tensor target, Tensor? weights, Tensor rotation, "
      "Tensor scale, Tensor translation, Tensor conditioning, bool with_scale) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "procrustes_backward(Tensor? grad_rotation, Tensor? grad_scale, Tensor? grad_translation, "
      "Tensor? grad_aligned, Tensor source, Tensor target, Tensor? weights, Tensor rotation, "
      "Tensor scale, Tensor conditioning, bool with_scale, bool[3] needed) -> "
      "(Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  register_kernels<CpuRunner>(m);
  m.impl("procrustes_aligned", &aligned_cpu);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) { register_kernels<CudaRunner>(m); }
#endif

}  // namespace pyhandpose
