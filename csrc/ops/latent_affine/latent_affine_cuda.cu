// CUDA kernels of latent_affine.
//
// Parallelisation: 8 lanes a sample, so that a warp's instructions on statistics and map serve 4
// samples; the lanes' statistics are merged by butterfly shuffles, and no shared memory is used.
// Memory: a lane holds its points in registers, which it loads and stores 16 bytes at a time with
// neighbouring lanes at neighbouring addresses: each input is read once, each output written once.
// Rows that are longer, or not made of whole pieces of 16 bytes, are read point by point in each
// pass, from the first-level cache but for the first time.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "latent_affine_math.h"

namespace pyhandpose {
namespace {

constexpr int kLanes = 8;  // of a sample
constexpr int kSamplesPerBlock = 32;
constexpr int kHeldPieces = 8;  // of a lane

// Neighbouring points, loaded and stored at once.
template <typename T, bool Held>
struct alignas(Held ? 16 : alignof(T)) Piece {
  static constexpr int kPoints = Held ? 16 / (2 * sizeof(T)) : 1;
  T at[2 * kPoints];
};

// A lane's share of a row of points.
template <typename T, bool Held>
class LanePoints {
 public:
  using P = Piece<T, Held>;
  static constexpr int kPoints = P::kPoints;

  __device__ __forceinline__ LanePoints(const T* row, int num_points)
      : row_(row), num_points_(num_points) {
    if constexpr (Held) visit([&](int k, int first) { held_[k] = load_piece(first); });
  }

  // f(number of the piece, its first point) in ascending order.
  template <typename F>
  __device__ __forceinline__ void visit(F f) const {
    const int first = static_cast<int>(threadIdx.x) * kPoints;
    if constexpr (Held) {
#pragma unroll
      for (int k = 0; k < kHeldPieces; ++k)
        if (first + k * kLanes * kPoints < num_points_) f(k, first + k * kLanes * kPoints);
    } else {
      for (int64_t point = first; point < num_points_; point += kLanes)
        f(0, static_cast<int>(point));
    }
  }
  __device__ __forceinline__ P piece(int k, int first) const {
    if constexpr (Held)
      return held_[k];
    else
      return load_piece(first);
  }

 private:
  __device__ __forceinline__ P load_piece(int first) const {
    return *reinterpret_cast<const P*>(row_ + 2 * static_cast<int64_t>(first));
  }

  const T* row_;
  int num_points_;
  P held_[Held ? kHeldPieces : 1];
};

// A lane's row: beyond the end the last one once more, for the shuffles, and nothing is written.
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

template <Convention C, typename T, bool Held>
__device__ __forceinline__ LatentStatistics<C, acc_t<T>> gather(const LanePoints<T, Held>& latent) {
  constexpr int kPoints = LanePoints<T, Held>::kPoints;
  LatentStatistics<C, acc_t<T>> statistics(static_cast<int>(threadIdx.x) * kPoints);
  latent.visit([&](int k, int first) {
    const auto piece = latent.piece(k, first);
#pragma unroll
    for (int p = 0; p < kPoints; ++p) statistics.absorb(load_point(piece.at, p), first + p);
  });
  merge_lanes<kLanes>(statistics);
  return statistics;
}

template <typename P, typename T>
__device__ __forceinline__ void store_piece(T* row, int first, const P& piece) {
  *reinterpret_cast<P*>(row + 2 * static_cast<int64_t>(first)) = piece;
}

template <Convention C, typename T, bool Held>
__global__ void __launch_bounds__(kLanes* kSamplesPerBlock)
    latent_affine_forward_kernel(const LatentAffineForward<T> args) {
  const int64_t P = args.num_points;
  const SampleRange range{args.num_samples};
  for (int64_t base = range.first(); base < args.num_samples; base += range.step()) {
    const int64_t i = range.sample(base);
    const LanePoints<T, Held> latent(args.latent + i * 2 * P, static_cast<int>(P));
    const auto map = gather<C>(latent).map(args.affine + i * 6, P);
    if (!range.inside(base)) continue;
    latent.visit([&](int k, int first) {
      const auto piece = latent.piece(k, first);
      auto out = piece;
#pragma unroll
      for (int p = 0; p < latent.kPoints; ++p) store_point(out.at, p, map(load_point(piece.at, p)));
      store_piece(args.out + i * 2 * P, first, out);
    });
  }
}

template <Convention C, typename T, bool Held>
__global__ void __launch_bounds__(kLanes* kSamplesPerBlock)
    latent_affine_backward_kernel(const LatentAffineBackward<T> args) {
  const int64_t P = args.num_points;
  const SampleRange range{args.num_samples};
  for (int64_t base = range.first(); base < args.num_samples; base += range.step()) {
    const int64_t i = range.sample(base);
    const LanePoints<T, Held> latent(args.latent + i * 2 * P, static_cast<int>(P));
    const LanePoints<T, Held> grad_out(args.grad_out + i * 2 * P, static_cast<int>(P));
    const auto statistics = gather<C>(latent);
    LatentPullBack<C, acc_t<T>> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    if constexpr (pull_back.kSums) {
      latent.visit([&](int k, int first) {
        const auto z = latent.piece(k, first), g = grad_out.piece(k, first);
#pragma unroll
        for (int p = 0; p < latent.kPoints; ++p)
          pull_back.absorb(load_point(z.at, p), load_point(g.at, p));
      });
      merge_lanes<kLanes>(pull_back.sums);
    }
    if (!range.inside(base)) continue;
    latent.visit([&](int k, int first) {
      const auto z = latent.piece(k, first), g = grad_out.piece(k, first);
      auto gz = z;
#pragma unroll
      for (int p = 0; p < latent.kPoints; ++p)
        store_point(gz.at, p, pull_back(load_point(z.at, p), load_point(g.at, p), first + p));
      store_piece(args.grad_latent + i * 2 * P, first, gz);
    });
  }
}

// Whether a lane can hold its points: rows of whole pieces, in aligned memory.
template <typename T, typename... Rows>
bool holds(int64_t num_points, const Rows*... rows) {
  using P = Piece<T, true>;
  return num_points % P::kPoints == 0 && num_points <= kLanes * kHeldPieces * P::kPoints &&
         ((reinterpret_cast<uintptr_t>(rows) % sizeof(P) == 0) && ...);
}

}  // namespace

template <typename T>
void latent_affine_forward_cuda(const LatentAffineForward<T>& args, cudaStream_t stream) {
  if (args.num_samples == 0 || args.num_points == 0) return;
  with_convention(args.convention, [&](auto convention) {
    const auto kernel = holds<T>(args.num_points, args.latent, args.out)
                            ? latent_affine_forward_kernel<convention.value, T, true>
                            : latent_affine_forward_kernel<convention.value, T, false>;
    launch("latent_affine_forward_kernel", kernel, grid_size(args.num_samples, kSamplesPerBlock),
           dim3(kLanes, kSamplesPerBlock), stream, args);
  });
}

template <typename T>
void latent_affine_backward_cuda(const LatentAffineBackward<T>& args, cudaStream_t stream) {
  if (args.num_samples == 0 || args.num_points == 0) return;
  with_convention(args.convention, [&](auto convention) {
    const auto kernel = holds<T>(args.num_points, args.latent, args.grad_out, args.grad_latent)
                            ? latent_affine_backward_kernel<convention.value, T, true>
                            : latent_affine_backward_kernel<convention.value, T, false>;
    launch("latent_affine_backward_kernel", kernel, grid_size(args.num_samples, kSamplesPerBlock),
           dim3(kLanes, kSamplesPerBlock), stream, args);
  });
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
