// CUDA kernels of nt_xent over all pairs, without tensor cores.
//
// Parallelisation: a block of 16 x 16 threads owns a tile of rows and visits all tiles of columns
// in order, so every sum has one owner and one order: no atomics, the same bits every time. A
// thread holds kMicro x kMicro scores, rows along x, columns along y. Backward recomputes the
// scores and keeps kSlab elements of its rows' gradient in registers; wider rows take more blocks
// (grid y). Memory: panels are read in chunks of kDepth elements through shared memory (coalesced:
// a panel's rows lie side by side); the weights' tile passes through shared memory between the
// products.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "nt_xent_stream.cuh"

namespace pyhandpose {
namespace {

constexpr int kSide = 16;   // threads along each side of a tile
constexpr int kDepth = 32;  // elements of a row in shared memory at a time

template <typename A>
constexpr int kMicro = sizeof(A) == 8 ? 2 : 4;
template <typename A>
constexpr int kTile = kSide * kMicro<A>;

template <typename A>
struct Chunks {
  A i[kDepth][kTile<A>];
  A j[kDepth][kTile<A>];
};

// Elements [d0, d0 + kDepth) of a tile's rows; zero beyond the panels.
template <typename A>
__device__ __forceinline__ void load_chunk(A (&chunk)[kDepth][kTile<A>], const A* panels,
                                           PanelShape shape, int64_t tile, int64_t d0) {
  const int64_t width = shape.width(), rows = shape.num_panels() * PanelShape::kRows;
  for (int e = threadIdx.y * kSide + threadIdx.x; e < kDepth * kTile<A>; e += kSide * kSide) {
    const int t = e / kTile<A>, c = e % kTile<A>;
    const int64_t row = tile * kTile<A> + c, d = d0 + t;
    chunk[t][c] = row < rows && d < width ? panels[shape.index(row, d)] : A(0);
  }
}

// score[k][r] = <u_j, u_i> of column k and row r of this thread.
template <typename A>
__device__ __forceinline__ void cosine_tile(A (&cosine)[kMicro<A>][kMicro<A>], Chunks<A>& chunks,
                                            const A* row_panels, const A* column_panels,
                                            const Contrast& contrast, int64_t tile_i,
                                            int64_t tile_j) {
  constexpr int R = kMicro<A>;
#pragma unroll
  for (int k = 0; k < R; ++k)
#pragma unroll
    for (int r = 0; r < R; ++r) cosine[k][r] = A(0);
  for (int64_t d0 = 0; d0 < contrast.rows.width(); d0 += kDepth) {
    __syncthreads();
    load_chunk(chunks.i, row_panels, contrast.rows, tile_i, d0);
    load_chunk(chunks.j, column_panels, contrast.columns, tile_j, d0);
    __syncthreads();
#pragma unroll 4
    for (int t = 0; t < kDepth; ++t) {
      A rows[R], columns[R];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        rows[r] = chunks.i[t][threadIdx.x * R + r];
        columns[r] = chunks.j[t][threadIdx.y * R + r];
      }
#pragma unroll
      for (int k = 0; k < R; ++k)
#pragma unroll
        for (int r = 0; r < R; ++r) cosine[k][r] += columns[k] * rows[r];
    }
  }
}

template <bool kConstantShift, typename A>
__global__ void __launch_bounds__(kSide* kSide)
    nt_xent_forward_kernel(const NtXentForward<A> args) {
  constexpr int R = kMicro<A>;
  using Sum = StreamedSum<kConstantShift, A>;
  __shared__ Chunks<A> chunks;
  __shared__ double partial_sum[kSide][kTile<A>];
  __shared__ A partial_shift[kSide][kTile<A>];
  const Contrast contrast = args.contrast;
  const Scores<A> scores(args.temperature);
  const int64_t tile_i = blockIdx.x, M = contrast.columns.num_rows;
  const int64_t first_i = tile_i * kTile<A> + threadIdx.x * R;
  Sum sums[R];
  LeftOut left_out[R];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    sums[r] = Sum(scores);
    left_out[r] = LeftOut(contrast, first_i + r);
  }

  for (int64_t tile_j = 0; tile_j * kTile<A> < M; ++tile_j) {
    A x[R][R];
    cosine_tile(x, chunks, args.rows, args.columns, contrast, tile_i, tile_j);
    const int64_t first_j = tile_j * kTile<A> + threadIdx.y * R;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int k = 0; k < R; ++k)
        if (!left_out[r](first_j + k)) sums[r].raise_shift(scores.exponent(x[k][r]));
      A sum = A(0);
#pragma unroll
      for (int k = 0; k < R; ++k) {
        const A exponent = scores.exponent(x[k][r]);
        if (!left_out[r](first_j + k))
          sum += exp2_of(kConstantShift ? exponent : exponent - sums[r].shift);
      }
      sums[r].sum += sum;
    }
  }

#pragma unroll
  for (int r = 0; r < R; ++r) {
    partial_sum[threadIdx.y][threadIdx.x * R + r] = sums[r].sum;
    partial_shift[threadIdx.y][threadIdx.x * R + r] = sums[r].shift;
  }
  __syncthreads();
  const int c = threadIdx.y * kSide + threadIdx.x;
  const int64_t i = tile_i * kTile<A> + c;
  if (c >= kTile<A> || i >= contrast.rows.num_rows) return;
  Sum total(scores);
  for (int y = 0; y < kSide; ++y) {
    Sum other(scores);
    other.sum = partial_sum[y][c];
    other.shift = partial_shift[y][c];
    total.merge(other);
  }
  args.sums[i] = logarithm_to_two(total.sum) + total.shift;
}

template <bool kConstantShift, typename A>
__global__ void __launch_bounds__(kSide* kSide)
    nt_xent_backward_kernel(const NtXentBackward<A> args) {
  constexpr int R = kMicro<A>, kChunks = kSlab / kDepth, kElements = kDepth / kSide;
  __shared__ Chunks<A> chunks;
  __shared__ A weighted[kTile<A>][kTile<A>];  // G, column by row
  const Contrast contrast = args.contrast;
  const PanelShape shape = contrast.columns;
  const Scores<A> scores(args.temperature);
  const int64_t tile_i = blockIdx.x, m = contrast.rows.num_rows, M = shape.num_rows;
  const int64_t slab = static_cast<int64_t>(blockIdx.y) * kSlab;
  const int64_t first_i = tile_i * kTile<A> + threadIdx.x * R;
  A weights_i[R], grad[kChunks][kElements][R] = {};
  LeftOut left_out[R];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    weights_i[r] = first_i + r < m ? own_weight(args.weights, contrast, first_i + r) : A(0);
    left_out[r] = LeftOut(contrast, first_i + r);
  }

  for (int64_t tile_j = 0; tile_j * kTile<A> < M; ++tile_j) {
    A x[R][R];
    cosine_tile(x, chunks, args.rows, args.columns, contrast, tile_i, tile_j);
    const int64_t first_j = tile_j * kTile<A> + threadIdx.y * R;
#pragma unroll
    for (int k = 0; k < R; ++k) {
      const int64_t j = first_j + k;
      const A weight_j = j < M ? args.weights[j] : A(0);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const A s = scores.exponent(x[k][r]);
        const A g = kConstantShift ? exp2_of(s) * (weights_i[r] + weight_j)
                                   : exp2_of(s + weights_i[r]) + exp2_of(s + weight_j);
        weighted[threadIdx.y * R + k][threadIdx.x * R + r] = left_out[r](j) ? A(0) : g;
      }
    }
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (slab + c * kDepth >= shape.width()) break;
      __syncthreads();
      load_chunk(chunks.j, args.columns, shape, tile_j, slab + c * kDepth);
      __syncthreads();
#pragma unroll 4
      for (int k = 0; k < kTile<A>; ++k) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          const A element = chunks.j[threadIdx.y * kElements + e][k];
#pragma unroll
          for (int r = 0; r < R; ++r) grad[c][e][r] += element * weighted[k][threadIdx.x * R + r];
        }
      }
    }
  }

#pragma unroll
  for (int c = 0; c < kChunks; ++c)
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const int64_t d = slab + c * kDepth + threadIdx.y * kElements + e;
#pragma unroll
      for (int r = 0; r < R; ++r)
        if (d < shape.dim && first_i + r < m)
          args.grad_panels[contrast.rows.index(first_i + r, d)] = grad[c][e][r];
    }
}

template <typename A>
unsigned num_tiles(PanelShape shape) {
  return static_cast<unsigned>((shape.num_rows + kTile<A> - 1) / kTile<A>);
}

}  // namespace

template <typename A>
void nt_xent_negatives_forward_cuda(const NtXentForward<A>& args, cudaStream_t stream) {
  const dim3 threads(kSide, kSide);
  const unsigned blocks = num_tiles<A>(args.contrast.rows);
  if (has_constant_shift(args.temperature))
    launch("nt_xent_forward_kernel", nt_xent_forward_kernel<true, A>, blocks, threads, stream,
           args);
  else
    launch("nt_xent_forward_kernel", nt_xent_forward_kernel<false, A>, blocks, threads, stream,
           args);
}

template <typename A>
void nt_xent_negatives_backward_cuda(const NtXentBackward<A>& args, cudaStream_t stream) {
  const dim3 threads(kSide, kSide);
  const dim3 blocks(num_tiles<A>(args.contrast.rows),
                    static_cast<unsigned>((args.contrast.rows.width() + kSlab - 1) / kSlab));
  if (has_constant_shift(args.temperature))
    launch("nt_xent_backward_kernel", nt_xent_backward_kernel<true, A>, blocks, threads, stream,
           args);
  else
    launch("nt_xent_backward_kernel", nt_xent_backward_kernel<false, A>, blocks, threads, stream,
           args);
}

#define PYHANDPOSE_INSTANTIATE(A)                                                         \
  template void nt_xent_negatives_forward_cuda<A>(const NtXentForward<A>&, cudaStream_t); \
  template void nt_xent_negatives_backward_cuda<A>(const NtXentBackward<A>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(double)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
