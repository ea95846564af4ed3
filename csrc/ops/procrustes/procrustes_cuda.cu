// CUDA kernels of procrustes.
//
// Parallelisation: a block is one warp and has 32 samples, one a thread; the 3x3 maths never leaves
// a thread's registers. The aligned points are one thread each.
// Memory: the warp copies the rows of its samples to shared memory with neighbouring lanes at
// neighbouring addresses and writes results back the same way, so device memory sees each input
// and each output once. Rows are padded to an odd length, which puts the lanes' entries into
// different banks. Sets whose rows do not fit (more than 64 points in float32) are read in place,
// each thread its own row, through the first-level cache.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "procrustes.h"
#include "procrustes_math.h"

namespace pyhandpose {
namespace {

constexpr int kSharedBytes = 48 * 1024;
constexpr int kAlignedThreads = 256;

__host__ __device__ __forceinline__ int64_t odd(int64_t length) { return length | 1; }

// Rows of this warp's samples: thread i has row i, in shared memory or in the tensor itself.
template <typename T, bool Staged>
struct WarpRows {
  T* shared;      // (32,odd(length)), where Staged
  int64_t first;  // the warp's first sample
  int valid;      // its number of samples

  __device__ __forceinline__ T* own(T* tensor, int64_t length) const {
    if constexpr (Staged)
      return shared + threadIdx.x * odd(length);
    else
      return tensor + (first + threadIdx.x) * length;
  }
  __device__ __forceinline__ const T* read(const T* tensor, int64_t length) const {
    if constexpr (Staged) {
      for (int row = 0; row < valid; ++row)
        for (int64_t i = threadIdx.x; i < length; i += kWarpSize)
          shared[row * odd(length) + i] = tensor[(first + row) * length + i];
      __syncwarp();
      return shared + threadIdx.x * odd(length);
    } else {
      return tensor + (first + threadIdx.x) * length;
    }
  }
  __device__ __forceinline__ void write(T* tensor, int64_t length) const {
    if constexpr (Staged) {
      __syncwarp();
      for (int row = 0; row < valid; ++row)
        for (int64_t i = threadIdx.x; i < length; i += kWarpSize)
          tensor[(first + row) * length + i] = shared[row * odd(length) + i];
      __syncwarp();
    }
  }
};

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

// Shared memory of a warp: rows of source, target, weights and, backward, the aligned gradient.
template <typename T, bool Staged, bool Weighted>
struct WarpSets {
  WarpRows<T, Staged> source, target, weights, aligned;

  __device__ __forceinline__ WarpSets(T* shared, int64_t first, int valid, int64_t num_points)
      : source{shared, first, valid},
        target{shared + kWarpSize * odd(3 * num_points), first, valid},
        weights{shared + 2 * kWarpSize * odd(3 * num_points), first, valid},
        aligned{weights.shared + (Weighted ? kWarpSize * odd(num_points) : 0), first, valid} {}

  __device__ __forceinline__ ThreadPoints<T, Weighted> read(const PointSets<T>& sets) const {
    const int64_t N = sets.num_points;
    return {N, source.read(sets.source, 3 * N), target.read(sets.target, 3 * N),
            Weighted ? weights.read(sets.weights, N) : nullptr};
  }
};

template <typename T>
int64_t shared_bytes(const PointSets<T>& sets, bool with_aligned) {
  const int64_t numbers = (with_aligned ? 3 : 2) * odd(3 * sets.num_points) +
                          (sets.weights != nullptr ? odd(sets.num_points) : 0);
  // The forward reuses it for the nine entries of a rotation.
  return kWarpSize * static_cast<int64_t>(sizeof(T)) * (numbers > 9 ? numbers : 9);
}

extern __shared__ double shared_memory[];

template <typename T, bool Staged, bool Weighted>
__global__ void __launch_bounds__(kWarpSize)
    procrustes_forward_kernel(const ProcrustesForward<T> args) {
  T* const shared = reinterpret_cast<T*>(shared_memory);
  const int64_t B = args.sets.num_samples;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < B;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const int valid = static_cast<int>(B - first < kWarpSize ? B - first : kWarpSize);
    const bool active = static_cast<int>(threadIdx.x) < valid;
    const WarpSets<T, Staged, Weighted> rows(shared, first, valid, args.sets.num_points);
    const auto points = rows.read(args.sets);
    SimilarityFit<T> found;
    if (active) found = fit(gather_moments(points), args.with_scale, args.allow_reflection);
    __syncwarp();

    const WarpRows<T, Staged> out{shared, first, valid};
    if (active) store_matrix(out.own(args.rotation, 9), found.R);
    out.write(args.rotation, 9);
    if (active) store_vector(out.own(args.translation, 3), 0, found.t);
    out.write(args.translation, 3);
    if (active) {
      args.scale[first + threadIdx.x] = found.k;
      args.conditioning[first + threadIdx.x] = found.conditioning;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kAlignedThreads)
    procrustes_aligned_kernel(const ProcrustesAligned<T> args) {
  const int64_t num_points = args.num_samples * args.num_points;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kAlignedThreads + threadIdx.x; i < num_points;
       i += static_cast<int64_t>(gridDim.x) * kAlignedThreads) {
    const int64_t sample = i / args.num_points;
    SimilarityFit<T> found;
    found.R = load_matrix(args.rotation + 9 * sample);
    found.k = args.scale[sample];
    found.t = load_vector(args.translation, sample);
    store_vector(args.aligned, i, align(found, load_vector(args.source, i)));
  }
}

template <typename T, bool Staged, bool Weighted>
__device__ __forceinline__ void backward_sample(const ProcrustesBackward<T>& args, int64_t sample,
                                                const ThreadPoints<T, Weighted>& points,
                                                const T* grad_aligned, T* grad_source,
                                                T* grad_target, T* grad_weights) {
  const int64_t N = args.sets.num_points;
  const Moments<T> moments = gather_moments(points);
  SimilarityGradient<T> upstream;
  upstream.R = args.grad_rotation ? load_matrix(args.grad_rotation + 9 * sample) : zero_matrix<T>();
  upstream.k = args.grad_scale ? args.grad_scale[sample] : T(0);
  upstream.t =
      args.grad_translation ? load_vector(args.grad_translation, sample) : zero_vector<T>();
  if (args.grad_aligned)
    for (int64_t n = 0; n < N; ++n)
      upstream.absorb(load_vector(grad_aligned, n), moments.centred(points, n).x);
  const SimilarityPullBack<T> pull_back(moments, load_matrix(args.rotation + 9 * sample),
                                        args.scale[sample], args.conditioning[sample], upstream,
                                        args.with_scale);
  for (int64_t n = 0; n < N; ++n) {
    const Vec3<T> ga = args.grad_aligned ? load_vector(grad_aligned, n) : zero_vector<T>();
    const PairGradient<T> gradient = pull_back(moments.centred(points, n), ga);
    if (args.grad_source) store_vector(grad_source, n, gradient.x);
    if (args.grad_target) store_vector(grad_target, n, gradient.y);
    if (args.grad_weights) grad_weights[n] = gradient.weight;
  }
}

// Where Staged, the gradients of a point take its own place in shared memory.
template <typename T, bool Staged, bool Weighted>
__global__ void __launch_bounds__(kWarpSize)
    procrustes_backward_kernel(const ProcrustesBackward<T> args) {
  T* const shared = reinterpret_cast<T*>(shared_memory);
  const int64_t B = args.sets.num_samples, N = args.sets.num_points;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kWarpSize; first < B;
       first += static_cast<int64_t>(gridDim.x) * kWarpSize) {
    const int valid = static_cast<int>(B - first < kWarpSize ? B - first : kWarpSize);
    const WarpSets<T, Staged, Weighted> rows(shared, first, valid, N);
    const auto points = rows.read(args.sets);
    const T* const grad_aligned =
        args.grad_aligned ? rows.aligned.read(args.grad_aligned, 3 * N) : nullptr;
    if (static_cast<int>(threadIdx.x) < valid)
      backward_sample<T, Staged, Weighted>(
          args, first + threadIdx.x, points, grad_aligned, rows.source.own(args.grad_source, 3 * N),
          rows.target.own(args.grad_target, 3 * N), rows.weights.own(args.grad_weights, N));
    if (args.grad_source) rows.source.write(args.grad_source, 3 * N);
    if (args.grad_target) rows.target.write(args.grad_target, 3 * N);
    if (args.grad_weights) rows.weights.write(args.grad_weights, N);
  }
}

// Calls launch(staged, weighted, bytes of shared memory), the first two as compile-time constants.
template <bool Value>
struct Constant {
  static constexpr bool value = Value;
};
template <typename T, typename F>
void choose_kernel(const PointSets<T>& sets, bool with_aligned, F launch) {
  const int64_t bytes = shared_bytes(sets, with_aligned);
  const bool staged = bytes <= kSharedBytes, weighted = sets.weights != nullptr;
  if (staged && weighted)
    launch(Constant<true>{}, Constant<true>{}, bytes);
  else if (staged)
    launch(Constant<true>{}, Constant<false>{}, bytes);
  else if (weighted)
    launch(Constant<false>{}, Constant<true>{}, 0);
  else
    launch(Constant<false>{}, Constant<false>{}, 0);
}

}  // namespace

template <typename T>
void procrustes_forward_cuda(const ProcrustesForward<T>& args, cudaStream_t stream) {
  if (args.sets.num_samples == 0) return;
  const unsigned blocks = grid_size(args.sets.num_samples, kWarpSize);
  choose_kernel(args.sets, false, [&](auto staged, auto weighted, int64_t bytes) {
    procrustes_forward_kernel<T, decltype(staged)::value, decltype(weighted)::value>
        <<<blocks, kWarpSize, bytes, stream>>>(args);
  });
  check_launch("procrustes_forward_kernel");
}

template <typename T>
void procrustes_aligned_cuda(const ProcrustesAligned<T>& args, cudaStream_t stream) {
  if (args.num_samples == 0 || args.num_points == 0) return;
  const unsigned blocks = grid_size(args.num_samples * args.num_points, kAlignedThreads);
  procrustes_aligned_kernel<<<blocks, kAlignedThreads, 0, stream>>>(args);
  check_launch("procrustes_aligned_kernel");
}

template <typename T>
void procrustes_backward_cuda(const ProcrustesBackward<T>& args, cudaStream_t stream) {
  if (args.sets.num_samples == 0 || args.sets.num_points == 0) return;
  const unsigned blocks = grid_size(args.sets.num_samples, kWarpSize);
  choose_kernel(args.sets, args.grad_aligned != nullptr,
                [&](auto staged, auto weighted, int64_t bytes) {
                  procrustes_backward_kernel<T, decltype(staged)::value, decltype(weighted)::value>
                      <<<blocks, kWarpSize, bytes, stream>>>(args);
                });
  check_launch("procrustes_backward_kernel");
}

#define PYHANDPOSE_INSTANTIATE(T)                                                      \
  template void procrustes_forward_cuda<T>(const ProcrustesForward<T>&, cudaStream_t); \
  template void procrustes_aligned_cuda<T>(const ProcrustesAligned<T>&, cudaStream_t); \
  template void procrustes_backward_cuda<T>(const ProcrustesBackward<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
