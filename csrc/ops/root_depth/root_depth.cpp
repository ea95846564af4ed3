// root_depth at torch's boundary: schema, checks, allocation, dispatch of ranges.
#include "root_depth.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "../../common/checks.h"
#include "../../common/dispatch.h"

namespace pyhandpose {
namespace {

constexpr const char* kOp = "pyhandpose.root_depth";
constexpr int64_t kSamplesPerTask = 256;

struct Inputs {
  at::Tensor joints_25d, intrinsics;  // contiguous
  std::optional<at::Tensor> scale;    // contiguous
  int64_t bone_n, bone_m;
  RootDepthMode mode;

  int64_t num_samples() const { return joints_25d.size(0); }

  template <typename T>
  RootDepthInputs<T> pointers() const {
    return {read_pointer<T>(joints_25d),
            read_pointer<T>(intrinsics),
            scale ? read_pointer<T>(*scale) : nullptr,
            intrinsics.dim() == 2 ? 0 : 9,
            joints_25d.size(0),
            joints_25d.size(1),
            bone_n,
            bone_m,
            mode};
  }
};

RootDepthMode check_mode(std::string_view name) {
  if (name == "stable") return RootDepthMode::kStable;
  if (name == "published-data") return RootDepthMode::kPublishedData;
  TORCH_CHECK_VALUE(name == "published-model", kOp,
                    ": argument 'mode' expected 'stable', 'published-data' or 'published-model', "
                    "got '",
                    name, "'");
  return RootDepthMode::kPublishedModel;
}

void check_bone(at::IntArrayRef bone, int64_t num_joints) {
  const auto in_range = [&](int64_t joint) { return 0 <= joint && joint < num_joints; };
  TORCH_CHECK_VALUE(
      bone.size() == 2 && in_range(bone[0]) && in_range(bone[1]) && bone[0] != bone[1], kOp,
      ": argument 'bone' expected two distinct joints in [0,", num_joints, "), got ", bone);
}

Inputs check_root_depth(const at::Tensor& joints_25d, const at::Tensor& intrinsics,
                        const std::optional<at::Tensor>& scale, at::IntArrayRef bone,
                        std::string_view mode) {
  check_shape(kOp, "joints_25d", joints_25d, "(B,J,3) with J >= 2", {-1, -1, 3});
  TORCH_CHECK_VALUE(joints_25d.size(1) >= 2, kOp,
                    ": argument 'joints_25d' expected shape (B,J,3) with J >= 2, got ",
                    describe_shape(joints_25d));
  check_dtype(kOp, "joints_25d", joints_25d, {at::kDouble, at::kFloat});
  const int64_t B = joints_25d.size(0);
  if (intrinsics.dim() == 2)
    check_shape(kOp, "intrinsics", intrinsics, "(3,3) or (B,3,3) with the joints' B", {3, 3});
  else
    check_shape(kOp, "intrinsics", intrinsics, "(3,3) or (B,3,3) with the joints' B", {B, 3, 3});
  check_dtype(kOp, "intrinsics", intrinsics, {joints_25d.scalar_type()});
  check_same_device(kOp, "intrinsics", intrinsics, "joints_25d", joints_25d);
  if (scale) {
    check_shape(kOp, "scale", *scale, "(B,) with the joints' B", {B});
    check_dtype(kOp, "scale", *scale, {joints_25d.scalar_type()});
    check_same_device(kOp, "scale", *scale, "joints_25d", joints_25d);
  }
  check_bone(bone, joints_25d.size(1));
  return {joints_25d.contiguous(),
          intrinsics.contiguous(),
          scale ? std::optional(scale->contiguous()) : std::nullopt,
          bone[0],
          bone[1],
          check_mode(mode)};
}

struct Outputs {
  explicit Outputs(const Inputs& in)
      : depth(at::empty({in.num_samples()}, in.joints_25d.options())),
        joints(at::empty(in.joints_25d.sizes(), in.joints_25d.options())),
        other_depth(at::empty({in.num_samples()}, in.joints_25d.options())),
        status(at::empty({in.num_samples()}, in.joints_25d.options().dtype(at::kChar))) {}
  at::Tensor depth, joints, other_depth, status;

  template <typename T>
  RootDepthForward<T> arguments(const Inputs& in) {
    return {in.pointers<T>(), write_pointer<T>(depth), write_pointer<T>(joints),
            write_pointer<T>(other_depth), write_pointer<int8_t>(status)};
  }
  std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> tuple() const {
    return {depth, joints, other_depth, status};
  }
};

// A gradient that nobody asked for is a tensor of no samples.
struct Gradients {
  Gradients(const Inputs& in, const std::optional<at::Tensor>& upstream_depth,
            const std::optional<at::Tensor>& upstream_joints, const at::Tensor& forward_depth,
            std::array<bool, 3> wanted)
      : depth(forward_depth.contiguous()),
        wanted(wanted),
        joints_25d(at::empty({wanted[0] ? in.num_samples() : 0, in.joints_25d.size(1), 3},
                             in.joints_25d.options())),
        intrinsics(at::empty({wanted[1] ? in.num_samples() : 0, 3, 3}, in.joints_25d.options())),
        scale(at::empty({wanted[2] ? in.num_samples() : 0}, in.joints_25d.options())) {
    if (upstream_depth) grad_depth = upstream_depth->contiguous();
    if (upstream_joints) grad_joints = upstream_joints->contiguous();
  }
  at::Tensor depth;
  std::optional<at::Tensor> grad_depth, grad_joints;
  std::array<bool, 3> wanted;
  at::Tensor joints_25d, intrinsics, scale;

  template <typename T>
  RootDepthBackward<T> arguments(const Inputs& in) {
    return {in.pointers<T>(),
            read_pointer<T>(depth),
            grad_depth ? read_pointer<T>(*grad_depth) : nullptr,
            grad_joints ? read_pointer<T>(*grad_joints) : nullptr,
            wanted[0] ? write_pointer<T>(joints_25d) : nullptr,
            wanted[1] ? write_pointer<T>(intrinsics) : nullptr,
            wanted[2] ? write_pointer<T>(scale) : nullptr};
  }
  // One matrix for all samples receives their sum, in an order that does not depend on timing.
  std::tuple<at::Tensor, at::Tensor, at::Tensor> tuple(const Inputs& in) const {
    const bool shared = wanted[1] && in.intrinsics.dim() == 2;
    return {joints_25d, shared ? intrinsics.sum(0) : intrinsics, scale};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward_cpu(
    const at::Tensor& joints_25d, const at::Tensor& intrinsics,
    const std::optional<at::Tensor>& scale, at::IntArrayRef bone, std::string_view mode) {
  const Inputs in = check_root_depth(joints_25d, intrinsics, scale, bone, mode);
  Outputs out(in);
  dispatch_full_precision(joints_25d.scalar_type(), [&](auto tag) {
    const auto args = out.arguments<decltype(tag)>(in);
    at::parallel_for(0, in.num_samples(), kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(root_depth_forward_cpu(args, begin, end));
    });
  });
  return out.tuple();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cpu(
    const std::optional<at::Tensor>& grad_depth, const std::optional<at::Tensor>& grad_joints,
    const at::Tensor& depth, const at::Tensor& joints_25d, const at::Tensor& intrinsics,
    const std::optional<at::Tensor>& scale, at::IntArrayRef bone, std::string_view mode,
    std::array<bool, 3> wanted) {
  const Inputs in = check_root_depth(joints_25d, intrinsics, scale, bone, mode);
  Gradients out(in, grad_depth, grad_joints, depth, wanted);
  dispatch_full_precision(joints_25d.scalar_type(), [&](auto tag) {
    const auto args = out.arguments<decltype(tag)>(in);
    at::parallel_for(0, in.num_samples(), kSamplesPerTask, [&](int64_t begin, int64_t end) {
      PYHANDPOSE_ISA_CALL(root_depth_backward_cpu(args, begin, end));
    });
  });
  return out.tuple(in);
}

#if defined(PYHANDPOSE_WITH_CUDA)
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward_cuda(
    const at::Tensor& joints_25d, const at::Tensor& intrinsics,
    const std::optional<at::Tensor>& scale, at::IntArrayRef bone, std::string_view mode) {
  const CudaScope scope(joints_25d);
  const Inputs in = check_root_depth(joints_25d, intrinsics, scale, bone, mode);
  Outputs out(in);
  dispatch_full_precision(joints_25d.scalar_type(), [&](auto tag) {
    root_depth_forward_cuda(out.arguments<decltype(tag)>(in), scope.stream);
  });
  return out.tuple();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cuda(
    const std::optional<at::Tensor>& grad_depth, const std::optional<at::Tensor>& grad_joints,
    const at::Tensor& depth, const at::Tensor& joints_25d, const at::Tensor& intrinsics,
    const std::optional<at::Tensor>& scale, at::IntArrayRef bone, std::string_view mode,
    std::array<bool, 3> wanted) {
  const CudaScope scope(joints_25d);
  const Inputs in = check_root_depth(joints_25d, intrinsics, scale, bone, mode);
  Gradients out(in, grad_depth, grad_joints, depth, wanted);
  dispatch_full_precision(joints_25d.scalar_type(), [&](auto tag) {
    root_depth_backward_cuda(out.arguments<decltype(tag)>(in), scope.stream);
  });
  return out.tuple(in);
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyhandpose, m) {
  m.def(
      "root_depth(Tensor joints_25d, Tensor intrinsics, Tensor? scale, int[] bone, str mode) -> "
      "(Tensor depth, Tensor joints, Tensor other_depth, Tensor status)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "root_depth_backward(Tensor? grad_depth, Tensor? grad_joints, Tensor depth, "
      "Tensor joints_25d, Tensor intrinsics, Tensor? scale, int[] bone, str mode, bool[3] wanted) "
      "-> (Tensor grad_joints_25d, Tensor grad_intrinsics, Tensor grad_scale)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(pyhandpose, CPU, m) {
  m.impl("root_depth", &forward_cpu);
  m.impl("root_depth_backward", &backward_cpu);
}

#if defined(PYHANDPOSE_WITH_CUDA)
TORCH_LIBRARY_IMPL(pyhandpose, CUDA, m) {
  m.impl("root_depth", &forward_cuda);
  m.impl("root_depth_backward", &backward_cuda);
}
#endif

}  // namespace pyhandpose
