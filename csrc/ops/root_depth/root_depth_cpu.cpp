// CPU kernels of root_depth: one sample after another, one pass over its joints. The roots need the
// reference bone alone, so every joint is lifted (or pulled back) in the pass that checks it; a
// refused sample is overwritten afterwards, and the bone's share of the gradient added.
#include "root_depth_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

template <typename T>
PYHANDPOSE_HD void fill(T* values, int64_t count, T value) {
  for (int64_t k = 0; k < count; ++k) values[k] = value;
}

template <typename T>
PYHANDPOSE_HD void add(T* values, Vec3<T> increment) {
  values[0] += increment.x;
  values[1] += increment.y;
  values[2] += increment.z;
}

template <typename T>
PYHANDPOSE_HD void forward_sample(const RootDepthForward<T>& args, int64_t i) {
  const int64_t J = args.in.num_joints;
  const T* from = args.in.joints_25d + i * J * 3;
  T* to = args.joints + i * J * 3;
  const LiftedSample<T> sample(args.in, i);
  JointCensus census;
  for (int64_t j = 0; j < J; ++j) {
    const Vec2<T> x = sample.K.ray(from[3 * j], from[3 * j + 1]);
    const T z = from[3 * j + 2];
    census.absorb(x, z, sample.roots);
    const Vec3<T> joint = sample.lift(x, z);
    to[3 * j] = joint.x;
    to[3 * j + 1] = joint.y;
    to[3 * j + 2] = joint.z;
  }
  const SampleVerdict verdict = judge(sample, census, args.in.mode);
  if (verdict.refused) fill(to, 3 * J, quiet_nan<T>());
  args.depth[i] = verdict.refused ? quiet_nan<T>() : sample.roots.depth;
  args.other_depth[i] = verdict.refused ? quiet_nan<T>() : sample.roots.other;
  args.status[i] = verdict.status;
}

template <bool kGradJoints, bool kGradJoints25d, typename T>
PYHANDPOSE_HD void backward_sample(const RootDepthBackward<T>& args, int64_t i) {
  const int64_t J = args.in.num_joints;
  const T* from = args.in.joints_25d + i * J * 3;
  T* to = args.grad_joints_25d + i * J * 3;
  const LiftedSample<T> sample(args.in, i);
  LiftPullBack<T> pull_back;
  if constexpr (kGradJoints) {
    const T* g = args.grad_joints + i * J * 3;
    for (int64_t j = 0; j < J; ++j) {
      const Vec2<T> x = sample.K.ray(from[3 * j], from[3 * j + 1]);
      const Vec3<T> gradient =
          pull_back.absorb(sample, x, from[3 * j + 2], {g[3 * j], g[3 * j + 1], g[3 * j + 2]});
      if constexpr (kGradJoints25d) {
        to[3 * j] = gradient.x;
        to[3 * j + 1] = gradient.y;
        to[3 * j + 2] = gradient.z;
      }
    }
  } else if constexpr (kGradJoints25d) {
    fill(to, 3 * J, T(0));
  }
  if (args.grad_depth != nullptr) pull_back.depth += args.grad_depth[i];
  Vec3<T> at_n, at_m;
  pull_back.absorb_bone(sample, args.in.mode, &at_n, &at_m);
  if constexpr (kGradJoints25d) {
    add(to + 3 * args.in.bone_n, at_n);
    add(to + 3 * args.in.bone_m, at_m);
  }
  if (args.grad_intrinsics != nullptr) pull_back.K.write(args.grad_intrinsics + 9 * i);
  if (args.grad_scale != nullptr) args.grad_scale[i] = pull_back.scale;
}

template <typename T>
PYHANDPOSE_HD void zero_sample(const RootDepthBackward<T>& args, int64_t i) {
  const int64_t J = args.in.num_joints;
  if (args.grad_joints_25d != nullptr) fill(args.grad_joints_25d + i * J * 3, 3 * J, T(0));
  if (args.grad_intrinsics != nullptr) fill(args.grad_intrinsics + 9 * i, 9, T(0));
  if (args.grad_scale != nullptr) args.grad_scale[i] = T(0);
}

template <bool kGradJoints, bool kGradJoints25d, typename T>
void backward(const RootDepthBackward<T>& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    if (args.depth[i] != args.depth[i])
      zero_sample(args, i);
    else
      backward_sample<kGradJoints, kGradJoints25d>(args, i);
  }
}

}  // namespace

template <typename T>
void root_depth_forward_cpu(const RootDepthForward<T>& args, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) forward_sample(args, i);
}

template <typename T>
void root_depth_backward_cpu(const RootDepthBackward<T>& args, int64_t begin, int64_t end) {
  if (args.grad_joints != nullptr && args.grad_joints_25d != nullptr)
    backward<true, true>(args, begin, end);
  else if (args.grad_joints != nullptr)
    backward<true, false>(args, begin, end);
  else if (args.grad_joints_25d != nullptr)
    backward<false, true>(args, begin, end);
  else
    backward<false, false>(args, begin, end);
}

#define PYHANDPOSE_INSTANTIATE(T)                                                        \
  template void root_depth_forward_cpu<T>(const RootDepthForward<T>&, int64_t, int64_t); \
  template void root_depth_backward_cpu<T>(const RootDepthBackward<T>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
