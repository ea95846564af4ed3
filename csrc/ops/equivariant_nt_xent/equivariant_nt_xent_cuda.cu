// CUDA kernels of equivariant_nt_xent.
//
// Parallelisation: one warp per row, lanes stride over its points; statistics, norm and the sums of
// the pull-back are merged by butterfly shuffles. No shared memory.
// Memory: a row is read from device memory once and from the first-level cache after that. Panels
// are transposed, so a warp's accesses to them are strided; the eight rows of a block share lines.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "equivariant_nt_xent_math.h"

namespace pyhandpose {
namespace {

constexpr int kWarpsPerBlock = 8;

template <Convention C, typename T>
__device__ __forceinline__ LatentStatistics<C, acc_t<T>> gather(const T* z, int64_t num_points) {
  LatentStatistics<C, acc_t<T>> statistics(threadIdx.x);
  for (int64_t p = threadIdx.x; p < num_points; p += kWarpSize)
    statistics.absorb(load_point(z, p), p);
  merge_warp(statistics);
  return statistics;
}

template <Convention C, typename T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    equivariant_nt_xent_pack_kernel(const EquivariantPack<T> args) {
  const PanelShape shape = args.rows.shape;
  const int64_t P = shape.dim / 2;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
       i < shape.num_rows; i += static_cast<int64_t>(gridDim.x) * kWarpsPerBlock) {
    const T* z = args.rows.z + i * shape.dim;
    const auto map = gather<C>(z, P).map(args.affine + i * 6, P);
    MovedNorm norm;
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize) norm.absorb(map(load_point(z, p)));
    const double gain = inverse_norm(warp_sum(norm.sum_squares));
    if (threadIdx.x == 0) args.rows.inverse_norm[i] = static_cast<acc_t<T>>(gain);
    acc_t<T>* unit = args.rows.panels + shape.index(i, 0);
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      store_unit_point(unit, p, map(load_point(z, p)), gain);
  }
}

template <Convention C, typename T>
__global__ void __launch_bounds__(kWarpSize* kWarpsPerBlock)
    equivariant_nt_xent_unpack_kernel(const EquivariantUnpack<T> args) {
  const PanelShape shape = args.rows.shape;
  const int64_t P = shape.dim / 2;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
       i < shape.num_rows; i += static_cast<int64_t>(gridDim.x) * kWarpsPerBlock) {
    const T* z = args.z + i * shape.dim;
    T* grad_z = args.rows.grad_z + i * shape.dim;
    RowGradient<acc_t<T>> row(args.rows.panels, args.rows.grad_panels, shape, i,
                              *args.rows.grad_loss, args.rows.divisor, args.rows.inverse_norm[i]);
    for (int64_t d = threadIdx.x; d < shape.dim; d += kWarpSize) row.absorb(d);
    row.radial = warp_sum(row.radial);
    const auto statistics = gather<C>(z, P);
    LatentPullBack<C, acc_t<T>> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      pull_back.absorb(load_point(z, p), moved_gradient(row, p));
    merge_warp(pull_back.sums);
    for (int64_t p = threadIdx.x; p < P; p += kWarpSize)
      store_point(grad_z, p, pull_back(load_point(z, p), moved_gradient(row, p), p));
  }
}

}  // namespace

template <typename T>
void equivariant_nt_xent_pack_cuda(const EquivariantPack<T>& args, cudaStream_t stream) {
  const unsigned blocks = grid_size(args.rows.shape.num_rows, kWarpsPerBlock);
  const dim3 threads(kWarpSize, kWarpsPerBlock);
  with_convention(args.convention, [&](auto convention) {
    equivariant_nt_xent_pack_kernel<convention.value><<<blocks, threads, 0, stream>>>(args);
  });
  check_launch("equivariant_nt_xent_pack_kernel");
}

template <typename T>
void equivariant_nt_xent_unpack_cuda(const EquivariantUnpack<T>& args, cudaStream_t stream) {
  const unsigned blocks = grid_size(args.rows.shape.num_rows, kWarpsPerBlock);
  const dim3 threads(kWarpSize, kWarpsPerBlock);
  with_convention(args.convention, [&](auto convention) {
    equivariant_nt_xent_unpack_kernel<convention.value><<<blocks, threads, 0, stream>>>(args);
  });
  check_launch("equivariant_nt_xent_unpack_kernel");
}

#define PYHANDPOSE_INSTANTIATE(T)                                                          \
  template void equivariant_nt_xent_pack_cuda<T>(const EquivariantPack<T>&, cudaStream_t); \
  template void equivariant_nt_xent_unpack_cuda<T>(const EquivariantUnpack<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
