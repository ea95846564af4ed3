// CUDA kernels of root_depth.
//
// Parallelisation: 8 lanes per sample, lanes stride over its joints (21 joints fill 24 slots).
// Every lane solves the quadratic of its sample, which costs less than handing the result around;
// the joints' census (forward) and sums (backward) are merged by shuffles within the 8 lanes.
// Memory: the lanes of a warp read 4 consecutive samples; the three numbers of a joint and the two
// of the reference bone come from the same lines, so device memory sees each input and each output
// once. No shared memory, no atomics: the result does not depend on timing.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "root_depth_math.h"

namespace pyhandpose {
namespace {

constexpr int kLanes = 8;  // per sample
constexpr int kSamplesPerBlock = 32;

// Over the lanes of a sample. All 32 lanes of the warp take part, whatever sample they have.
template <typename T>
__device__ __forceinline__ T sample_sum(T value) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}

// The kernels' loop over samples: the same number of rounds for every lane of a warp, so that all
// of them meet in the shuffles; lanes beyond the end repeat the last sample and write nothing.
struct SampleRange {
  int64_t num_samples;
  __device__ __forceinline__ int64_t first() const {
    return static_cast<int64_t>(blockIdx.x) * kSamplesPerBlock;
  }
  __device__ __forceinline__ int64_t step() const {
    return static_cast<int64_t>(gridDim.x) * kSamplesPerBlock;
  }
  __device__ __forceinline__ bool inside(int64_t base) const {
    return base + threadIdx.y < num_samples;
  }
  __device__ __forceinline__ int64_t sample(int64_t base) const {
    return inside(base) ? base + threadIdx.y : num_samples - 1;
  }
};

__device__ __forceinline__ bool any_in_sample(bool value) {
  return sample_sum<int32_t>(value ? 1 : 0) != 0;
}

template <typename T>
__device__ __forceinline__ LiftedSample<T> lifted_sample(const RootDepthInputs<T>& in, int64_t i) {
  const T* joints = in.joints_25d + i * in.num_joints * 3;
  return {load_matrix(in.intrinsics + i * in.intrinsics_stride), load_vector(joints, in.bone_n),
          load_vector(joints, in.bone_m), in.scale == nullptr ? T(1) : in.scale[i], in.mode};
}

template <typename T>
__global__ void __launch_bounds__(kLanes* kSamplesPerBlock)
    root_depth_forward_kernel(const RootDepthForward<T> args) {
  const int64_t J = args.in.num_joints;
  const SampleRange range{args.in.num_samples};
  for (int64_t base = range.first(); base < args.in.num_samples; base += range.step()) {
    const int64_t i = range.sample(base);
    const T* from = args.in.joints_25d + i * J * 3;
    const LiftedSample<T> sample = lifted_sample(args.in, i);
    JointCensus<T> census;
    for (int64_t j = threadIdx.x; j < J; j += kLanes) {
      const Vec3<T> uvz = load_vector(from, j);
      census.absorb(sample.K.ray(uvz.x, uvz.y), uvz.z, sample.roots);
    }
    census.broken = any_in_sample(census.broken);
    census.behind = any_in_sample(census.behind);
    census.other_behind = any_in_sample(census.other_behind);
    if (!range.inside(base)) continue;
    const SampleVerdict<T> verdict = judge(sample, census, args.in.mode);
    const T nan = quiet_nan<T>();
    T* to = args.joints + i * J * 3;
    for (int64_t j = threadIdx.x; j < J; j += kLanes) {
      const Vec3<T> uvz = load_vector(from, j);
      store_vector(to, j,
                   verdict.refused ? Vec3<T>{nan, nan, nan}
                                   : sample.lift(sample.K.ray(uvz.x, uvz.y), uvz.z));
    }
    if (threadIdx.x == 0) {
      args.depth[i] = verdict.refused ? nan : sample.roots.depth;
      args.other_depth[i] = verdict.refused ? nan : sample.roots.other;
      args.status[i] = static_cast<int8_t>(verdict.status);
    }
  }
}

template <typename T>
__device__ __forceinline__ void merge_lanes(LiftPullBack<T>& pull_back) {
  pull_back.depth = sample_sum(pull_back.depth);
  pull_back.scale = sample_sum(pull_back.scale);
  pull_back.K.fx = sample_sum(pull_back.K.fx);
  pull_back.K.skew = sample_sum(pull_back.K.skew);
  pull_back.K.cx = sample_sum(pull_back.K.cx);
  pull_back.K.fy = sample_sum(pull_back.K.fy);
  pull_back.K.cy = sample_sum(pull_back.K.cy);
}

template <typename T>
__global__ void __launch_bounds__(kLanes* kSamplesPerBlock)
    root_depth_backward_kernel(const RootDepthBackward<T> args) {
  const int64_t J = args.in.num_joints;
  const SampleRange range{args.in.num_samples};
  for (int64_t base = range.first(); base < args.in.num_samples; base += range.step()) {
    const int64_t i = range.sample(base);
    const T* from = args.in.joints_25d + i * J * 3;
    const LiftedSample<T> sample = lifted_sample(args.in, i);
    T* to = args.grad_joints_25d == nullptr ? nullptr : args.grad_joints_25d + i * J * 3;
    LiftPullBack<T> pull_back(args.depth[i] != args.depth[i]);
    for (int64_t j = threadIdx.x; j < J; j += kLanes) {
      Vec3<T> own{T(0), T(0), T(0)};
      if (args.grad_joints != nullptr) {
        const Vec3<T> uvz = load_vector(from, j);
        own = pull_back.absorb(sample, sample.K.ray(uvz.x, uvz.y), uvz.z,
                               load_vector(args.grad_joints + i * J * 3, j));
      }
      if (to != nullptr && range.inside(base)) store_vector(to, j, own);
    }
    merge_lanes(pull_back);
    if (!range.inside(base)) continue;
    if (args.grad_depth != nullptr) pull_back.depth += args.grad_depth[i];
    Vec3<T> at_n, at_m;
    pull_back.absorb_bone(sample, args.in.mode, &at_n, &at_m);
    if (to != nullptr) {  // by the lanes that stored these two joints before
      const int64_t n = args.in.bone_n, m = args.in.bone_m;
      if (threadIdx.x == n % kLanes) store_vector(to, n, load_vector(to, n) + at_n);
      if (threadIdx.x == m % kLanes) store_vector(to, m, load_vector(to, m) + at_m);
    }
    if (threadIdx.x == 0) {
      if (args.grad_intrinsics != nullptr)
        store_matrix(args.grad_intrinsics + 9 * i, pull_back.grad_intrinsics());
      if (args.grad_scale != nullptr) args.grad_scale[i] = pull_back.grad_scale();
    }
  }
}

}  // namespace

template <typename T>
void root_depth_forward_cuda(const RootDepthForward<T>& args, cudaStream_t stream) {
  if (args.in.num_samples == 0) return;
  root_depth_forward_kernel<<<grid_size(args.in.num_samples, kSamplesPerBlock),
                              dim3(kLanes, kSamplesPerBlock), 0, stream>>>(args);
  check_launch("root_depth_forward_kernel");
}

template <typename T>
void root_depth_backward_cuda(const RootDepthBackward<T>& args, cudaStream_t stream) {
  if (args.in.num_samples == 0) return;
  root_depth_backward_kernel<<<grid_size(args.in.num_samples, kSamplesPerBlock),
                               dim3(kLanes, kSamplesPerBlock), 0, stream>>>(args);
  check_launch("root_depth_backward_kernel");
}

#define PYHANDPOSE_INSTANTIATE(T)                                                     \
  template void root_depth_forward_cuda<T>(const RootDepthForward<T>&, cudaStream_t); \
  template void root_depth_backward_cuda<T>(const RootDepthBackward<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
