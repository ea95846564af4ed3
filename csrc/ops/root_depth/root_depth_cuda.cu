// CUDA kernels of root_depth.
//
// Parallelisation: a block is one warp and has 32 samples, one a thread, which solves its quadratic
// once and visits its joints once.
// Memory: the samples' rows pass through shared memory (warp_rows.cuh), results in the place of
// what they were computed from, so device memory sees each input and each output once, in whole
// lines. Samples whose rows do not fit (more than 63 joints in float32) are read in place, each
// thread its own row, through the first-level cache. No atomics: the result does not depend on
// timing.
#include <type_traits>

#include "../../common/launch.cuh"
#include "../../common/warp_rows.cuh"
#include "root_depth_math.h"

namespace pyhandpose {
namespace {

constexpr int64_t kSharedBytes = 48 * 1024;

// Shared memory of a warp: rows of joints, of intrinsics and, backward, of the joints' gradient.
template <typename T, bool Staged>
struct WarpSamples {
  WarpRows<T, Staged> joints, intrinsics, gradient;

  __device__ __forceinline__ WarpSamples(const RootDepthInputs<T>& in, int64_t first)
      : joints{reinterpret_cast<T*>(dynamic_shared()), 3 * in.num_joints, first,
               static_cast<int>(in.num_samples - first < kWarpSize ? in.num_samples - first
                                                                   : kWarpSize)},
        intrinsics{joints.shared + warp_numbers(joints.length), 9, first, joints.valid},
        gradient{intrinsics.shared + warp_numbers(9), joints.length, first, joints.valid} {}

  __device__ __forceinline__ void fetch(const RootDepthInputs<T>& in) const {
    joints.fetch(in.joints_25d);
    if (in.intrinsics_stride != 0) intrinsics.fetch(in.intrinsics);
  }
  __device__ __forceinline__ bool active() const {
    return static_cast<int>(threadIdx.x) < joints.valid;
  }
  // Lanes beyond the end read numbers that exist.
  __device__ __forceinline__ int64_t sample() const {
    return joints.first + (active() ? threadIdx.x : 0);
  }
  __device__ __forceinline__ LiftedSample<T> lifted(const RootDepthInputs<T>& in, T scale) const {
    const T* const own = joints.own(in.joints_25d);
    const T* const K = in.intrinsics_stride != 0 ? intrinsics.own(in.intrinsics) : in.intrinsics;
    return {load_matrix(K), load_vector(own, in.bone_n), load_vector(own, in.bone_m), scale,
            in.mode};
  }
};

template <typename T>
int64_t samples_numbers(const RootDepthInputs<T>& in) {
  return warp_numbers(3 * in.num_joints) + warp_numbers(9);
}

template <typename T, bool Staged>
__global__ void __launch_bounds__(kWarpSize)
    root_depth_forward_kernel(const RootDepthForward<T> args) {
  const int64_t J = args.in.num_joints;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < args.in.num_samples;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const WarpSamples<T, Staged> rows(args.in, first);
    rows.fetch(args.in);
    const int64_t i = rows.sample();
    const T scale = args.in.scale == nullptr ? T(1) : args.in.scale[i];
    wait_for_rows();
    if (rows.active()) {
      const LiftedSample<T> sample = rows.lifted(args.in, scale);
      const T* const from = rows.joints.own(args.in.joints_25d);
      T* const to = rows.joints.own(args.joints);
      JointCensus<T> census;
      for (int64_t j = 0; j < J; ++j) {
        const Vec3<T> uvz = load_vector(from, j);
        const Vec2<T> x = sample.K.ray(uvz.x, uvz.y);
        census.absorb(x, uvz.z, sample.roots);
        store_vector(to, j, sample.lift(x, uvz.z));
      }
      const SampleVerdict<T> verdict = judge(sample, census, args.in.mode);
      const T nan = quiet_nan<T>();
      if (verdict.refused)
        for (int64_t k = 0; k < 3 * J; ++k) to[k] = nan;
      args.depth[i] = verdict.refused ? nan : sample.roots.depth;
      args.other_depth[i] = verdict.refused ? nan : sample.roots.other;
      args.status[i] = static_cast<int8_t>(verdict.status);
    }
    rows.joints.write(args.joints);
  }
}

template <typename T>
__device__ __forceinline__ void add(T* row, int64_t joint, Vec3<T> increment) {
  store_vector(row, joint, load_vector(row, joint) + increment);
}

// A joint's gradient takes the place of what it was computed from.
template <typename T, bool Staged>
__global__ void __launch_bounds__(kWarpSize)
    root_depth_backward_kernel(const RootDepthBackward<T> args) {
  const int64_t J = args.in.num_joints;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < args.in.num_samples;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const WarpSamples<T, Staged> rows(args.in, first);
    rows.fetch(args.in);
    if (args.grad_joints != nullptr) rows.gradient.fetch(args.grad_joints);
    const int64_t i = rows.sample();
    const T scale = args.in.scale == nullptr ? T(1) : args.in.scale[i];
    const T depth = args.depth[i];
    const T grad_depth = args.grad_depth == nullptr ? T(0) : args.grad_depth[i];
    wait_for_rows();
    if (rows.active()) {
      const LiftedSample<T> sample = rows.lifted(args.in, scale);
      const T* const from = rows.joints.own(args.in.joints_25d);
      const T* const upstream = rows.gradient.own(args.grad_joints);
      T* const to = rows.joints.own(args.grad_joints_25d);
      LiftPullBack<T> pull_back(depth != depth);
      for (int64_t j = 0; j < J; ++j) {
        Vec3<T> own = zero_vector<T>();
        if (args.grad_joints != nullptr) {
          const Vec3<T> uvz = load_vector(from, j);
          own =
              pull_back.absorb(sample, sample.K.ray(uvz.x, uvz.y), uvz.z, load_vector(upstream, j));
        }
        if (args.grad_joints_25d != nullptr) store_vector(to, j, own);
      }
      pull_back.depth += grad_depth;
      Vec3<T> at_n, at_m;
      pull_back.absorb_bone(sample, args.in.mode, &at_n, &at_m);
      if (args.grad_joints_25d != nullptr) {
        add(to, args.in.bone_n, at_n);
        add(to, args.in.bone_m, at_m);
      }
      if (args.grad_intrinsics != nullptr)
        store_matrix(rows.intrinsics.own(args.grad_intrinsics), pull_back.grad_intrinsics());
      if (args.grad_scale != nullptr) args.grad_scale[i] = pull_back.grad_scale();
    }
    if (args.grad_joints_25d != nullptr) rows.joints.write(args.grad_joints_25d);
    if (args.grad_intrinsics != nullptr) rows.intrinsics.write(args.grad_intrinsics);
    __syncwarp();
  }
}

// Calls run(staged, bytes of shared memory), the first as a compile-time constant.
template <typename T, typename F>
void choose_kernel(int64_t numbers, F run) {
  const int64_t bytes = numbers * static_cast<int64_t>(sizeof(T));
  if (bytes <= kSharedBytes)
    run(std::true_type{}, bytes);
  else
    run(std::false_type{}, int64_t{0});
}

}  // namespace

template <typename T>
void root_depth_forward_cuda(const RootDepthForward<T>& args, cudaStream_t stream) {
  if (args.in.num_samples == 0) return;
  choose_kernel<T>(samples_numbers(args.in), [&](auto staged, int64_t bytes) {
    launch("root_depth_forward_kernel", root_depth_forward_kernel<T, staged.value>,
           grid_size(args.in.num_samples, kWarpSize), kWarpSize, bytes, stream, args);
  });
}

template <typename T>
void root_depth_backward_cuda(const RootDepthBackward<T>& args, cudaStream_t stream) {
  if (args.in.num_samples == 0) return;
  const int64_t numbers =
      samples_numbers(args.in) + (args.grad_joints ? warp_numbers(3 * args.in.num_joints) : 0);
  choose_kernel<T>(numbers, [&](auto staged, int64_t bytes) {
    launch("root_depth_backward_kernel", root_depth_backward_kernel<T, staged.value>,
           grid_size(args.in.num_samples, kWarpSize), kWarpSize, bytes, stream, args);
  });
}

#define PYHANDPOSE_INSTANTIATE(T)                                                     \
  template void root_depth_forward_cuda<T>(const RootDepthForward<T>&, cudaStream_t); \
  template void root_depth_backward_cuda<T>(const RootDepthBackward<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
