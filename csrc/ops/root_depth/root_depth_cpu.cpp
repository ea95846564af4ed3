// CPU kernels of root_depth: one sample a lane (lane_groups.h), one pass over its joints. The roots
// need the reference bone alone, so every joint is lifted (or pulled back) in the pass that checks
// it; a refused sample is overwritten afterwards, and the bone's share of the gradient added.
#include "../../common/lane_groups.h"
#include "root_depth_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

constexpr int kPerSample =
    22;  // intrinsics and their gradient 18, scale and its 2, depth and its 2

template <typename T>
struct HeldSamples {
  using S = element_t<T>;

  const S* joints_25d;
  LiftedSample<T> lifted;

  PYHANDPOSE_HD HeldSamples(Group<T>& group, const RootDepthInputs<S>& in)
      : joints_25d(group.read(in.joints_25d, 3 * in.num_joints)),
        lifted(matrix(group, in), get_vector<T>(joints_25d, in.bone_n),
               get_vector<T>(joints_25d, in.bone_m),
               in.scale == nullptr ? T(S(1)) : get<T>(group.read(in.scale, 1), 0), in.mode) {}

 private:
  PYHANDPOSE_HD static Mat3<T> matrix(Group<T>& group, const RootDepthInputs<S>& in) {
    if (in.intrinsics_stride != 0) return get_matrix<T>(group.read(in.intrinsics, 9));
    const S* const K = in.intrinsics;
    return {{T(K[0]), T(K[3]), T(K[6])}, {T(K[1]), T(K[4]), T(K[7])}, {T(K[2]), T(K[5]), T(K[8])}};
  }
};

template <typename T>
PYHANDPOSE_HD void write_number(Group<T>& group, T value, element_t<T>* tensor) {
  element_t<T>* const held = group.begin_write(tensor, 1);
  put(held, 0, value);
  group.end_write(held, tensor, 1);
}

template <typename T>
void forward_group(const RootDepthForward<element_t<T>>& args, Group<T> group) {
  using S = element_t<T>;
  const int64_t J = args.in.num_joints;
  const HeldSamples<T> held(group, args.in);
  const LiftedSample<T>& sample = held.lifted;
  S* const joints = group.begin_write(args.joints, 3 * J);
  JointCensus<T> census;
  for (int64_t j = 0; j < J; ++j) {
    const Vec3<T> uvz = get_vector<T>(held.joints_25d, j);
    const Vec2<T> x = sample.K.ray(uvz.x, uvz.y);
    census.absorb(x, uvz.z, sample.roots);
    put(joints, j, sample.lift(x, uvz.z));
  }
  const SampleVerdict<T> verdict = judge(sample, census, args.in.mode);
  const T nan = T(quiet_nan<S>());
  if (any(verdict.refused))
    for (int64_t k = 0; k < 3 * J; ++k)
      put(joints, k, select(verdict.refused, nan, get<T>(joints, k)));
  group.end_write(joints, args.joints, 3 * J);
  write_number(group, select(verdict.refused, nan, sample.roots.depth), args.depth);
  write_number(group, select(verdict.refused, nan, sample.roots.other), args.other_depth);
  S status[Group<T>::kCount];
  put(status, 0, verdict.status);
  for (int64_t i = 0; i < group.valid; ++i)
    args.status[group.first + i] = static_cast<int8_t>(status[i]);
}

template <typename T>
PYHANDPOSE_HD void add(element_t<T>* held, int64_t joint, Vec3<T> increment) {
  put(held, joint, get_vector<T>(held, joint) + increment);
}

template <typename T>
void backward_group(const RootDepthBackward<element_t<T>>& args, Group<T> group) {
  using S = element_t<T>;
  const int64_t J = args.in.num_joints;
  const HeldSamples<T> held(group, args.in);
  const LiftedSample<T>& sample = held.lifted;
  const T depth = get<T>(group.read(args.depth, 1), 0);
  LiftPullBack<T> pull_back(!(depth == depth));

  const S* const upstream = args.grad_joints ? group.read(args.grad_joints, 3 * J) : nullptr;
  S* const to = args.grad_joints_25d ? group.begin_write(args.grad_joints_25d, 3 * J) : nullptr;
  for (int64_t j = 0; j < J; ++j) {
    Vec3<T> own = zero_vector<T>();
    if (upstream != nullptr) {
      const Vec3<T> uvz = get_vector<T>(held.joints_25d, j);
      own = pull_back.absorb(sample, sample.K.ray(uvz.x, uvz.y), uvz.z, get_vector<T>(upstream, j));
    }
    if (to != nullptr) put(to, j, own);
  }
  if (args.grad_depth) pull_back.depth += get<T>(group.read(args.grad_depth, 1), 0);
  Vec3<T> at_n, at_m;
  pull_back.absorb_bone(sample, args.in.mode, &at_n, &at_m);
  if (to != nullptr) {
    add(to, args.in.bone_n, at_n);
    add(to, args.in.bone_m, at_m);
    group.end_write(to, args.grad_joints_25d, 3 * J);
  }
  if (args.grad_intrinsics) {
    S* const grad_intrinsics = group.begin_write(args.grad_intrinsics, 9);
    put(grad_intrinsics, pull_back.grad_intrinsics());
    group.end_write(grad_intrinsics, args.grad_intrinsics, 9);
  }
  if (args.grad_scale) write_number(group, pull_back.grad_scale(), args.grad_scale);
}

}  // namespace

template <typename S>
void root_depth_forward_cpu(const RootDepthForward<S>& args, int64_t begin, int64_t end) {
  for_each_group<S, 6, kPerSample>(args.in.num_joints, begin, end, [&]<typename T>(Group<T> group) {
    forward_group<T>(args, group);
  });
}

template <typename S>
void root_depth_backward_cpu(const RootDepthBackward<S>& args, int64_t begin, int64_t end) {
  for_each_group<S, 9, kPerSample>(args.in.num_joints, begin, end, [&]<typename T>(Group<T> group) {
    backward_group<T>(args, group);
  });
}

#define PYHANDPOSE_INSTANTIATE(S)                                                        \
  template void root_depth_forward_cpu<S>(const RootDepthForward<S>&, int64_t, int64_t); \
  template void root_depth_backward_cpu<S>(const RootDepthBackward<S>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
