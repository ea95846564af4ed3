// CUDA kernels of latent_affine.
//
// Parallelisation: one warp per sample, lanes stride over its points; statistics are merged by
// butterfly shuffles, so every lane holds them and no shared memory is used.
// Memory: each pass reads neighbouring points from neighbouring lanes. The second (and, backward,
// third) pass over a sample's 2P numbers hits the first-level cache: device memory sees each
// input once and each output once.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "latent_affine_math.h"

namespace pyhandpose {
namespace {

constexpr int kWarpsPerBlock = 8;

template <Convention C, typename T>
__device__ __forceinline__ LatentStatistics<C, acc_t<T>> gather(const T* latent,
                                                                int64_t num_points) {
  LatentStatistics<C, acc_t<T>> statistics(threadIdx.x);
  for (int64_t p = threadIdx.x; p < num_points; p += kWarpSize)
    statistics.absorb(load_point(latent, p), p);
  merge_warp(statistics);
  return statistics;
}

template <Convention C, typename T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    latent_affine_forward_kernel(const LatentAffineForward<T> args) {
  const int64_t P = args.num_points;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
       i < args.num_samples; i += static_cast<int64_t>(gridDim.x) * kWarpsPerBlock) {
    const T* latent = args.latent + i * 2 * P;
    T* out = args.out + i * 2 * P;
    const auto map = gather<C>(latent, P).map(args.affine + i * 6, P);
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      store_point(out, p, map(load_point(latent, p)));
  }
}

template <Convention C, typename T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    latent_affine_backward_kernel(const LatentAffineBackward<T> args) {
  const int64_t P = args.num_points;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
       i < args.num_samples; i += static_cast<int64_t>(gridDim.x) * kWarpsPerBlock) {
    const T* latent = args.latent + i * 2 * P;
    const T* grad_out = args.grad_out + i * 2 * P;
    T* grad_latent = args.grad_latent + i * 2 * P;
    const auto statistics = gather<C>(latent, P);
    LatentPullBack<C, acc_t<T>> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      pull_back.absorb(load_point(latent, p), load_point(grad_out, p));
    merge_warp(pull_back.sums);
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      store_point(grad_latent, p, pull_back(load_point(latent, p), load_point(grad_out, p), p));
  }
}

}  // namespace

template <typename T>
void latent_affine_forward_cuda(const LatentAffineForward<T>& args, cudaStream_t stream) {
  if (args.num_samples == 0 || args.num_points == 0) return;
  const unsigned blocks = grid_size(args.num_samples, kWarpsPerBlock);
  const dim3 threads(kWarpSize, kWarpsPerBlock);
  with_convention(args.convention, [&](auto convention) {
    latent_affine_forward_kernel<convention.value><<<blocks, threads, 0, stream>>>(args);
  });
  check_launch("latent_affine_forward_kernel");
}

template <typename T>
void latent_affine_backward_cuda(const LatentAffineBackward<T>& args, cudaStream_t stream) {
  if (args.num_samples == 0 || args.num_points == 0) return;
  const unsigned blocks = grid_size(args.num_samples, kWarpsPerBlock);
  const dim3 threads(kWarpSize, kWarpsPerBlock);
  with_convention(args.convention, [&](auto convention) {
    latent_affine_backward_kernel<convention.value><<<blocks, threads, 0, stream>>>(args);
  });
  check_launch("latent_affine_backward_kernel");
}

#define PYHANDPOSE_INSTANTIATE(T)                                                           \
  template void latent_affine_forward_cuda<T>(const LatentAffineForward<T>&, cudaStream_t); \
  template void latent_affine_backward_cuda<T>(const LatentAffineBackward<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
