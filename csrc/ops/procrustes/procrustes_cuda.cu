// CUDA kernels of procrustes.
//
// Parallelisation: a block is one warp and has 32 samples, one a thread; the 3x3 maths never leaves
// a thread's registers.
// Memory: the samples' rows pass through shared memory (warp_rows.cuh), results in the place of
// what they were computed from, so device memory sees each input and each output once, in whole
// lines. Sets whose rows do not fit (more than 63 points in float32) are read in place, each thread
// its own row, through the first-level cache.
#include <type_traits>

#include "../../common/launch.cuh"
#include "../../common/warp_rows.cuh"
#include "procrustes.h"
#include "procrustes_math.h"

namespace pyhandpose {
namespace {

constexpr int64_t kSharedBytes = 48 * 1024;

template <typename T, bool Weighted>
struct ThreadPoints {
  using Number = T;
  static constexpr bool kWeighted = Weighted;
  int64_t num_points;
  const T *source_, *target_, *weights_;

  __device__ __forceinline__ Vec3<T> source(int64_t n) const { return load_vector(source_, n); }
  __device__ __forceinline__ Vec3<T> target(int64_t n) const { return load_vector(target_, n); }
  __device__ __forceinline__ T weight(int64_t n) const { return Weighted ? weights_[n] : T(1); }
};

// Shared memory of a warp: rows of source, of target, and of weights, if there are any.
template <typename T, bool Staged, bool Weighted>
struct WarpSets {
  WarpRows<T, Staged> source, target, weights;

  __device__ __forceinline__ WarpSets(T* shared, int64_t num_points, int64_t first, int valid)
      : source{shared, 3 * num_points, first, valid},
        target{source.shared + warp_numbers(3 * num_points), 3 * num_points, first, valid},
        weights{target.shared + warp_numbers(3 * num_points), num_points, first, valid} {}

  __device__ __forceinline__ void fetch(const PointSets<T>& sets) const {
    source.fetch(sets.source);
    target.fetch(sets.target);
    if constexpr (Weighted) weights.fetch(sets.weights);
  }
  __device__ __forceinline__ ThreadPoints<T, Weighted> own(const PointSets<T>& sets) const {
    return {sets.num_points, source.own(sets.source), target.own(sets.target),
            Weighted ? weights.own(sets.weights) : nullptr};
  }
};

template <typename T>
int64_t sets_numbers(const PointSets<T>& sets) {
  return 2 * warp_numbers(3 * sets.num_points) +
         (sets.weights != nullptr ? warp_numbers(sets.num_points) : 0);
}

template <typename T>
int64_t forward_numbers(const PointSets<T>& sets) {
  const int64_t fit = warp_numbers(3 * sets.num_points) + warp_numbers(9) + warp_numbers(3);
  return sets_numbers(sets) > fit ? sets_numbers(sets) : fit;
}

// The aligned points take the source's place, rotation and translation the target's.
template <typename T, bool Staged, bool Weighted>
__global__ void __launch_bounds__(kWarpSize)
    procrustes_forward_kernel(const ProcrustesForward<T> args) {
  const int64_t B = args.sets.num_samples, N = args.sets.num_points;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < B;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const int valid = static_cast<int>(B - first < kWarpSize ? B - first : kWarpSize);
    const WarpSets<T, Staged, Weighted> rows(reinterpret_cast<T*>(dynamic_shared()), N, first,
                                             valid);
    rows.fetch(args.sets);
    wait_for_rows();

    const bool active = static_cast<int>(threadIdx.x) < valid;
    const auto points = rows.own(args.sets);
    SimilarityFit<T> found;
    if (active) {
      found = fit(gather_moments(points), args.with_scale, args.allow_reflection);
      args.scale[first + threadIdx.x] = found.k;
      args.conditioning[first + threadIdx.x] = found.conditioning;
      if (args.aligned != nullptr) {
        T* const aligned = rows.source.own(args.aligned);
        for (int64_t n = 0; n < N; ++n) store_vector(aligned, n, align(found, points.source(n)));
      }
    }
    if (args.aligned != nullptr) rows.source.write(args.aligned);

    __syncwarp();  // nobody reads a target any more
    const WarpRows<T, Staged> rotation{rows.target.shared, 9, first, valid};
    const WarpRows<T, Staged> translation{rotation.shared + warp_numbers(9), 3, first, valid};
    if (active) {
      store_matrix(rotation.own(args.rotation), found.R);
      store_vector(translation.own(args.translation), 0, found.t);
    }
    rotation.write(args.rotation);
    translation.write(args.translation);
  }
}

// What a thread needs of its sample besides the points.
template <typename T>
struct SampleState {
  SimilarityGradient<T> upstream;
  Mat3<T> rotation;
  T scale, conditioning;

  __device__ __forceinline__ SampleState(const ProcrustesBackward<T>& args, int64_t sample)
      : upstream{
            args.grad_rotation ? load_matrix(args.grad_rotation + 9 * sample) : zero_matrix<T>(),
            args.grad_scale ? args.grad_scale[sample] : T(0),
            args.grad_translation ? load_vector(args.grad_translation, sample) : zero_vector<T>()},
        rotation(load_matrix(args.rotation + 9 * sample)),
        scale(args.scale[sample]),
        conditioning(args.conditioning[sample]) {}
};

// Where Staged, the gradients of a point take its own place in shared memory.
template <typename T, bool Weighted>
__device__ __forceinline__ void backward_sample(const ProcrustesBackward<T>& args,
                                                SampleState<T>& sample,
                                                const ThreadPoints<T, Weighted>& points,
                                                const T* grad_aligned, T* grad_source,
                                                T* grad_target, T* grad_weights) {
  const int64_t N = args.sets.num_points;
  const Moments<T> moments = gather_moments(points);
  if (args.grad_aligned)
    for (int64_t n = 0; n < N; ++n)
      sample.upstream.absorb(load_vector(grad_aligned, n), moments.centred(points, n).x);
  const SimilarityPullBack<T> pull_back(moments, sample.rotation, sample.scale, sample.conditioning,
                                        sample.upstream, args.with_scale);
  for (int64_t n = 0; n < N; ++n) {
    const Vec3<T> ga = args.grad_aligned ? load_vector(grad_aligned, n) : zero_vector<T>();
    const PairGradient<T> gradient = pull_back(moments.centred(points, n), ga);
    if (args.grad_source) store_vector(grad_source, n, gradient.x);
    if (args.grad_target) store_vector(grad_target, n, gradient.y);
    if (args.grad_weights) grad_weights[n] = gradient.weight;
  }
}

template <typename T, bool Staged, bool Weighted>
__global__ void __launch_bounds__(kWarpSize)
    procrustes_backward_kernel(const ProcrustesBackward<T> args) {
  const int64_t B = args.sets.num_samples, N = args.sets.num_points;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < B;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const int valid = static_cast<int>(B - first < kWarpSize ? B - first : kWarpSize);
    const WarpSets<T, Staged, Weighted> rows(reinterpret_cast<T*>(dynamic_shared()), N, first,
                                             valid);
    const WarpRows<T, Staged> aligned{rows.weights.shared + (Weighted ? warp_numbers(N) : 0), 3 * N,
                                      first, valid};
    rows.fetch(args.sets);
    if (args.grad_aligned) aligned.fetch(args.grad_aligned);
    // Before the wait, so that these are on their way as well.
    const int own = static_cast<int>(threadIdx.x) < valid ? static_cast<int>(threadIdx.x) : 0;
    SampleState<T> sample(args, first + own);
    wait_for_rows();
    if (static_cast<int>(threadIdx.x) < valid)
      backward_sample(args, sample, rows.own(args.sets), aligned.own(args.grad_aligned),
                      rows.source.own(args.grad_source), rows.target.own(args.grad_target),
                      rows.weights.own(args.grad_weights));
    if (args.grad_source) rows.source.write(args.grad_source);
    if (args.grad_target) rows.target.write(args.grad_target);
    if (args.grad_weights) rows.weights.write(args.grad_weights);
    __syncwarp();
  }
}

// Calls run(staged, weighted, bytes of shared memory), the first two as compile-time constants.
template <typename T, typename F>
void choose_kernel(const PointSets<T>& sets, int64_t numbers, F run) {
  const int64_t bytes = numbers * static_cast<int64_t>(sizeof(T));
  const bool staged = bytes <= kSharedBytes, weighted = sets.weights != nullptr;
  using Yes = std::true_type;
  using No = std::false_type;
  if (staged && weighted)
    run(Yes{}, Yes{}, bytes);
  else if (staged)
    run(Yes{}, No{}, bytes);
  else if (weighted)
    run(No{}, Yes{}, int64_t{0});
  else
    run(No{}, No{}, int64_t{0});
}

}  // namespace

template <typename T>
void procrustes_forward_cuda(const ProcrustesForward<T>& args, cudaStream_t stream) {
  if (args.sets.num_samples == 0) return;
  choose_kernel(
      args.sets, forward_numbers(args.sets), [&](auto staged, auto weighted, int64_t bytes) {
        launch("procrustes_forward_kernel",
               procrustes_forward_kernel<T, staged.value, weighted.value>,
               grid_size(args.sets.num_samples, kWarpSize), kWarpSize, bytes, stream, args);
      });
}

template <typename T>
void procrustes_backward_cuda(const ProcrustesBackward<T>& args, cudaStream_t stream) {
  if (args.sets.num_samples == 0 || args.sets.num_points == 0) return;
  const int64_t numbers =
      sets_numbers(args.sets) + (args.grad_aligned ? warp_numbers(3 * args.sets.num_points) : 0);
  choose_kernel(args.sets, numbers, [&](auto staged, auto weighted, int64_t bytes) {
    launch("procrustes_backward_kernel",
           procrustes_backward_kernel<T, staged.value, weighted.value>,
           grid_size(args.sets.num_samples, kWarpSize), kWarpSize, bytes, stream, args);
  });
}

#define PYHANDPOSE_INSTANTIATE(T)                                                      \
  template void procrustes_forward_cuda<T>(const ProcrustesForward<T>&, cudaStream_t); \
  template void procrustes_backward_cuda<T>(const ProcrustesBackward<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
