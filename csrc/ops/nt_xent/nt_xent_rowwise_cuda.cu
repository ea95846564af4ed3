// CUDA kernels of nt_xent that visit each row once: before, between and after those over all pairs.
//
// Parallelisation: a block of 32 x 8 threads per panel. In panels, where a row's elements lie 32
// apart, lanes run along rows and a row has a thread for every eighth element; their shares of a
// sum are added in one order in shared memory. In z and its gradient lanes run along a row: packing
// and unpacking pass pieces of 32 x 32 through shared memory, so that either side is read or
// written in whole lines. Packing writes padding too, panels need not be zero before.
#include "../../common/launch.cuh"
#include "../../common/reduce.cuh"
#include "nt_xent_math.h"

namespace pyhandpose {
namespace {

constexpr int kThreads = 256;  // of kernels with one row a thread
constexpr int kMeanThreads = 1024;
constexpr int kPanelRows = static_cast<int>(PanelShape::kRows);
constexpr int kPanelThreads = 8;  // along a row

__device__ __forceinline__ int64_t row_of_panel() {
  return static_cast<int64_t>(blockIdx.x) * kPanelRows + threadIdx.x;
}

// The sum of a row's shares, in one order; all threads of the block call it.
__device__ __forceinline__ double sum_of_row(double share) {
  __shared__ double shares[kPanelThreads][kPanelRows];
  __syncthreads();  // nobody reads what an earlier call left
  shares[threadIdx.y][threadIdx.x] = share;
  __syncthreads();
  double sum = 0.0;
#pragma unroll
  for (int y = 0; y < kPanelThreads; ++y) sum += shares[y][threadIdx.x];
  return sum;
}

// <u_i, u_p> of the thread's row.
template <typename Args>
__device__ __forceinline__ double cosine_of_panel(const Args& args) {
  const int64_t row = row_of_panel();
  return sum_of_row(row < args.contrast.rows.num_rows
                        ? positive_cosine(args, row, threadIdx.y, kPanelThreads)
                        : 0.0);
}

// log2 of the sum over a row's negatives, of the parts that the kernels over all pairs have left:
// for the row's first thread.
template <typename A>
__device__ __forceinline__ double log2_negatives_of_panel(const NtXentForward<A>& args) {
  const int64_t row = row_of_panel(), num_rows = args.contrast.rows.num_rows;
  if (args.band_rows > 0) {
    const BandPairs bands(num_rows, args.band_rows);
    double share = 0.0;
    if (row < num_rows)
      for (int band = threadIdx.y; band < bands.num_bands; band += kPanelThreads)
        share += args.band_sums[band * num_rows + row];
    return logarithm_to_two(sum_of_row(share)) + Scores<A>(args.temperature).shift;
  }
  if (threadIdx.y > 0 || row >= num_rows) return 0.0;
  double log2_negatives = args.sums[row];
  for (int split = 1; split < args.num_splits; ++split)
    log2_negatives = add_in_log2(log2_negatives, args.sums[split * num_rows + row]);
  return log2_negatives;
}

template <typename A>
__global__ void __launch_bounds__(kPanelRows* kPanelThreads)
    nt_xent_log_sums_kernel(const NtXentForward<A> args) {
  const double cosine = cosine_of_panel(args), log2_negatives = log2_negatives_of_panel(args);
  const int64_t row = row_of_panel();
  if (threadIdx.y == 0 && row < args.contrast.rows.num_rows)
    finish_row(args, row, log2_negatives, cosine);
}

template <typename A>
__global__ void __launch_bounds__(kPanelRows* kPanelThreads)
    nt_xent_given_loss_kernel(const NtXentBackward<A> args, double* row_loss) {
  const double cosine = cosine_of_panel(args);
  const int64_t row = row_of_panel();
  if (threadIdx.y == 0 && row < args.contrast.rows.num_rows)
    row_loss[row] = given_row_loss(args, row, cosine);
}

template <typename A>
__global__ void __launch_bounds__(kPanelRows* kPanelThreads)
    nt_xent_positives_kernel(const NtXentBackward<A> args) {
  const double cosine = cosine_of_panel(args);
  const int64_t row = row_of_panel();
  if (row < args.contrast.rows.num_rows)
    add_positive(args, row, cosine, threadIdx.y, kPanelThreads);
}

template <typename A>
__global__ void nt_xent_weights_kernel(const NtXentBackward<A> args) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < OperandShape::padded(args.contrast.columns.num_rows);
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    args.weights[i] = i < args.contrast.columns.num_rows
                          ? row_weight<A>(args.log_sums[i], args.temperature)
                          : A(0);
}

template <typename A>
__global__ void __launch_bounds__(kMeanThreads)
    nt_xent_mean_kernel(const double* row_loss, int64_t num_rows, int64_t num_columns, A* loss) {
  __shared__ double partial[kMeanThreads];
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < num_rows; i += kMeanThreads) sum += row_loss[i];
  partial[threadIdx.x] = sum;
  for (int half = kMeanThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *loss = static_cast<A>(partial[0] / static_cast<double>(num_columns));
}

// A panel's piece of rows: 32 elements of each, which cross from lanes along a row to lanes along
// rows.
template <typename A>
using Piece = A[kPanelRows][kPanelRows + 1];  // the last column keeps lanes on banks of their own

template <typename T>
__global__ void __launch_bounds__(kPanelRows* kPanelThreads)
    nt_xent_pack_kernel(const NtXentPack<T> args) {
  using A = acc_t<T>;
  __shared__ Piece<A> piece;
  __shared__ double gains[kPanelRows];
  const PanelShape shape = args.shape;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kPanelRows;
  for (int r = threadIdx.y; r < kPanelRows; r += kPanelThreads) {
    const int64_t row = first_row + r;
    double sum_squares = 0.0;
    if (row < shape.num_rows)
      for (int64_t d = threadIdx.x; d < shape.dim; d += kWarpSize) {
        const double value = load(args.z[row * shape.dim + d]);
        sum_squares += value * value;
      }
    const double gain = inverse_norm(warp_sum(sum_squares));
    if (threadIdx.x == 0) gains[r] = gain;
    if (threadIdx.x == 0 && row < shape.num_rows) args.inverse_norm[row] = static_cast<A>(gain);
  }
  for (int64_t first = 0; first < shape.width(); first += kPanelRows) {
    __syncthreads();
    for (int r = threadIdx.y; r < kPanelRows; r += kPanelThreads) {
      const int64_t row = first_row + r, d = first + threadIdx.x;
      piece[r][threadIdx.x] = row < shape.num_rows && d < shape.dim
                                  ? static_cast<A>(load(args.z[row * shape.dim + d]) * gains[r])
                                  : A(0);
    }
    __syncthreads();
    for (int e = threadIdx.y; e < kPanelRows; e += kPanelThreads)
      if (first + e < shape.width())
        args.panels[shape.index(first_row + threadIdx.x, first + e)] = piece[threadIdx.x][e];
  }
}

template <typename T>
__global__ void __launch_bounds__(kPanelRows* kPanelThreads)
    nt_xent_unpack_kernel(const NtXentUnpack<T> args) {
  using A = acc_t<T>;
  __shared__ Piece<A> piece;
  const PanelShape shape = args.shape;
  const int64_t own = row_of_panel(), first_row = own - threadIdx.x;
  const bool inside = own < shape.num_rows;
  RowGradient<A> gradient(args.panels, args.grad_panels, shape, own, *args.grad_loss, args.divisor,
                          inside ? args.inverse_norm[own] : A(0));
  if (inside)
    for (int64_t d = threadIdx.y; d < shape.dim; d += kPanelThreads) gradient.absorb(d);
  gradient.radial = static_cast<A>(sum_of_row(static_cast<double>(gradient.radial)));
  for (int64_t first = 0; first < shape.dim; first += kPanelRows) {
    __syncthreads();
    for (int e = threadIdx.y; e < kPanelRows; e += kPanelThreads)
      piece[e][threadIdx.x] = inside && first + e < shape.dim ? gradient(first + e) : A(0);
    __syncthreads();
    const int64_t d = first + threadIdx.x;
    for (int r = threadIdx.y; r < kPanelRows; r += kPanelThreads)
      if (first_row + r < shape.num_rows && d < shape.dim)
        args.grad_z[(first_row + r) * shape.dim + d] = store<T>(piece[threadIdx.x][r]);
  }
}

template <typename Kernel, typename... Args>
void launch_panels(const char* name, Kernel* kernel, PanelShape shape, cudaStream_t stream,
                   const Args&... args) {
  launch(name, kernel, static_cast<unsigned>(shape.num_panels()), dim3(kPanelRows, kPanelThreads),
         stream, args...);
}

template <typename A>
void launch_mean(const double* row_loss, const Contrast& contrast, A* loss, cudaStream_t stream) {
  launch("nt_xent_mean_kernel", nt_xent_mean_kernel<A>, 1, kMeanThreads, stream, row_loss,
         contrast.rows.num_rows, contrast.columns.num_rows, loss);
}

}  // namespace

template <typename T>
void nt_xent_pack_cuda(const NtXentPack<T>& args, cudaStream_t stream) {
  launch_panels("nt_xent_pack_kernel", nt_xent_pack_kernel<T>, args.shape, stream, args);
}

template <typename A>
void nt_xent_forward_cuda(const NtXentForward<A>& args, const NtXentOperands& operands, A* loss,
                          cudaStream_t stream) {
  if constexpr (sizeof(A) == sizeof(float)) {
    if (operands.precision != Precision::kFfma)
      nt_xent_mma_forward_cuda(args, operands, stream);
    else
      nt_xent_negatives_forward_cuda(args, stream);
  } else {
    nt_xent_negatives_forward_cuda(args, stream);
  }
  launch_panels("nt_xent_log_sums_kernel", nt_xent_log_sums_kernel<A>, args.contrast.rows, stream,
                args);
  launch_mean(args.row_loss, args.contrast, loss, stream);
}

template <typename A>
void nt_xent_given_loss_cuda(const NtXentBackward<A>& args, double* row_loss, A* loss,
                             cudaStream_t stream) {
  launch_panels("nt_xent_given_loss_kernel", nt_xent_given_loss_kernel<A>, args.contrast.rows,
                stream, args, row_loss);
  launch_mean(row_loss, args.contrast, loss, stream);
}

template <typename A>
void nt_xent_backward_cuda(const NtXentBackward<A>& args, const NtXentOperands& operands,
                           cudaStream_t stream) {
  const int64_t num_weights = OperandShape::padded(args.contrast.columns.num_rows);
  launch("nt_xent_weights_kernel", nt_xent_weights_kernel<A>, grid_size(num_weights, kThreads),
         kThreads, stream, args);
  if constexpr (sizeof(A) == sizeof(float)) {
    if (operands.precision != Precision::kFfma)
      nt_xent_mma_backward_cuda(args, operands, stream);
    else
      nt_xent_negatives_backward_cuda(args, stream);
  } else {
    nt_xent_negatives_backward_cuda(args, stream);
  }
  launch_panels("nt_xent_positives_kernel", nt_xent_positives_kernel<A>, args.contrast.rows, stream,
                args);
}

template <typename T>
void nt_xent_unpack_cuda(const NtXentUnpack<T>& args, cudaStream_t stream) {
  launch_panels("nt_xent_unpack_kernel", nt_xent_unpack_kernel<T>, args.shape, stream, args);
}

#define PYHANDPOSE_INSTANTIATE(T)                                         \
  template void nt_xent_pack_cuda<T>(const NtXentPack<T>&, cudaStream_t); \
  template void nt_xent_unpack_cuda<T>(const NtXentUnpack<T>&, cudaStream_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

#define PYHANDPOSE_INSTANTIATE(A)                                                                \
  template void nt_xent_forward_cuda<A>(const NtXentForward<A>&, const NtXentOperands&, A*,      \
                                        cudaStream_t);                                           \
  template void nt_xent_given_loss_cuda<A>(const NtXentBackward<A>&, double*, A*, cudaStream_t); \
  template void nt_xent_backward_cuda<A>(const NtXentBackward<A>&, const NtXentOperands&,        \
                                         cudaStream_t);
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(double)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose
