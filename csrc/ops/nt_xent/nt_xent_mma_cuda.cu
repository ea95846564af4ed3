// CUDA kernels of nt_xent on tensor cores.
//
// Parallelisation: a block of eight warps owns 128 rows and visits tiles of 64 columns in order,
// all of them or one of several parts (grid z) that are merged in order, so every sum has one owner
// and one order: no atomics, the same bits every time. A warp holds its 16 rows' 16 x 64 scores in
// registers; in the backward pass they become weights there, which are at once the first operand of
// the product with the columns, and kSlab elements of its rows' gradient stay in registers too.
// Wider rows take more blocks (grid y). Forward, a large square takes half the scores: a block owns
// a pair of bands of rows, and a score serves its row and its column (nt_xent_mma_symmetric.cuh).
//
// Memory: operands are prepared once, row-major, rounded (bfloat16, its high and low part, or
// tf32). A block's rows stay in shared memory while tiles of columns pass through it, 64 KB a block
// in bfloat16 and D = 128, 128 KB in the others; rows that do not fit pass through it in chunks
// (nt_xent_mma_feed.cuh). Positives are not in the tiles: the kernels that visit each row once
// (nt_xent_rowwise_cuda.cu) take them from the unrounded panels, and merge the parts.
#include <type_traits>

#include "../../common/launch.cuh"
#include "nt_xent_mma_symmetric.cuh"
#include "nt_xent_stream.cuh"

namespace pyhandpose {
namespace {

constexpr int kPrepareSegments = 8;  // of a row at once

__device__ __forceinline__ int64_t first_row_of_block() {
  return static_cast<int64_t>(blockIdx.x) * kMmaTileRows;
}

template <typename Feed, bool kConstantShift>
__global__ void __launch_bounds__(kWarpSize* kMmaWarps)
    nt_xent_mma_forward_kernel(const NtXentForward<float> args, const NtXentOperands operands) {
  const Contrast contrast = args.contrast;
  const Scores<float> scores(args.temperature);
  StreamedSum<kConstantShift, float> sums[2];
  LeftOut left_out[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sums[r] = StreamedSum<kConstantShift, float>(scores);
    left_out[r] = LeftOut(contrast, row_of_lane(first_row_of_block(), r));
  }
  const ColumnSplits splits = nt_xent_mma_forward_splits(contrast);
  const int end = splits.end(blockIdx.z);
  int tile = splits.begin(blockIdx.z);
  Feed feed(operands, {first_row_of_block(), tile, end});

  for (; tile < end; ++tile) {
    float x[kColumnGroups][4] = {};
    feed.start_tile();
#pragma unroll Feed::kUnrolledChunks
    for (int chunk = 0; chunk < feed.num_chunks(); ++chunk)
      add_cosines<Feed::kPrecision>(x, feed.score_chunk(chunk));
    to_exponents<Feed::kPrecision>(x, scores, left_out, tile);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (!kConstantShift) {
        float largest = x[0][2 * r];  // or NaN, if there is one
#pragma unroll
        for (int e = 1; e < 2 * kColumnGroups; ++e) {
          const float other = x[e / 2][2 * r + e % 2];
          if (other > largest || other != other) largest = other;
        }
        sums[r].raise_shift(largest);
      }
      const float shift = kConstantShift ? 0.0f : sums[r].shift;  // a constant one is in x
      float sum = 0.0f;
#pragma unroll
      for (int group = 0; group < kColumnGroups; ++group)
        sum += exp2_fast(x[group][2 * r] - shift) + exp2_fast(x[group][2 * r + 1] - shift);
      sums[r].sum += sum;
    }
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    // Four lanes share a row.
    sums[r].merge(shuffle_xor(sums[r], 1));
    sums[r].merge(shuffle_xor(sums[r], 2));
    const int64_t row = row_of_lane(first_row_of_block(), r);
    if (threadIdx.x % 4 == 0 && row < contrast.rows.num_rows)
      args.sums[blockIdx.z * contrast.rows.num_rows + row] =
          logarithm_to_two(sums[r].sum) + sums[r].shift;
  }
}

// Exponents of the warp's scores to G, by the lane's rows' own weights and the columns'.
template <bool kConstantShift, typename Feed>
__device__ __forceinline__ void to_weights(float (&g)[kColumnGroups][4], const float (&own)[2],
                                           const Feed& feed) {
#pragma unroll
  for (int group = 0; group < kColumnGroups; ++group) {
    const float2 pair = feed.weights(group * 8 + product_column(threadIdx.x, 0));
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float& x = g[group][e];
      const float weight = e % 2 == 0 ? pair.x : pair.y;
      x = kConstantShift ? exp2_fast(x) * (own[e / 2] + weight)
                         : exp2_fast(x + own[e / 2]) + exp2_fast(x + weight);
    }
  }
}

// The warp's 16 rows of a slab to panels, whose padding in width is written too.
__device__ __forceinline__ void put_gradient(float* panels, PanelShape shape, bool add,
                                             const float (&grad)[kSlab / 8][4]) {
  const int64_t slab = static_cast<int64_t>(blockIdx.y) * kSlab;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t row = row_of_lane(first_row_of_block(), r);
    if (row >= shape.num_rows) continue;
    float* __restrict__ to = panels + shape.index(row, slab + product_column(threadIdx.x, 0));
#pragma unroll
    for (int group = 0; group < kSlab / 8; ++group)
      if (slab + group * 8 < shape.width())
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& element = to[(group * 8 + c) * PanelShape::kRows];
          element = grad[group][2 * r + c] + (add ? element : 0.0f);
        }
  }
}

template <typename Feed, bool kConstantShift>
__global__ void __launch_bounds__(kWarpSize* kMmaWarps)
    nt_xent_mma_backward_kernel(const NtXentBackward<float> args, const NtXentOperands operands) {
  constexpr Precision P = Feed::kPrecision;
  constexpr int kChunkGroups = kChunkElements<P> / 8;
  const Contrast contrast = args.contrast;
  const Scores<float> scores(args.temperature);
  const int first_slab_chunk = static_cast<int>(blockIdx.y) * kSlabChunks<P>;
  const int chunks_left = static_cast<int>(operands.rows.shape.num_chunks()) - first_slab_chunk;
  const int slab_chunks = chunks_left < kSlabChunks<P> ? chunks_left : kSlabChunks<P>;
  float own[2];
  LeftOut left_out[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t row = row_of_lane(first_row_of_block(), r);
    own[r] = row < contrast.rows.num_rows ? own_weight(args.weights, contrast, row) : 0.0f;
    left_out[r] = LeftOut(contrast, row);
  }
  const ColumnSplits splits = nt_xent_mma_backward_splits(contrast);
  const int begin = splits.begin(blockIdx.z), end = splits.end(blockIdx.z);
  Feed feed(operands,
            {first_row_of_block(), begin, end, args.weights, first_slab_chunk, slab_chunks});

  for (int chain = begin; chain < end; chain += args.tiles_per_chain) {
    const int chain_end = end - chain < args.tiles_per_chain ? end : chain + args.tiles_per_chain;
    float grad[kSlab / 8][4] = {};
    for (int tile = chain; tile < chain_end; ++tile) {
      float g[kColumnGroups][4] = {};
      feed.start_tile();
#pragma unroll Feed::kUnrolledChunks
      for (int chunk = 0; chunk < feed.num_chunks(); ++chunk)
        add_cosines<P>(g, feed.score_chunk(chunk));
      to_exponents<P>(g, scores, left_out, tile);
      to_weights<kConstantShift>(g, own, feed);
      Fragment weights[kMmaTileColumns / kProductDepth<P>][kParts<P>];
#pragma unroll
      for (int k = 0; k < kMmaTileColumns / kProductDepth<P>; ++k)
        weights_operand<P>(weights[k], g, k * kProductDepth<P> / 8);
#pragma unroll
      for (int chunk = 0; chunk < kSlabChunks<P>; ++chunk)
        if (chunk < slab_chunks)
          add_gradient<P>(grad, chunk * kChunkGroups, weights, feed.slab_chunk(chunk));
    }
    put_gradient(args.grad_of_split(blockIdx.z), contrast.rows, chain > begin, grad);
  }
}

// A block takes 32 rows, lanes along them; a thread rounds every eighth segment of a row.
template <Precision P>
__global__ void __launch_bounds__(kWarpSize* kPrepareSegments)
    nt_xent_prepare_kernel(const float* panels, PanelShape shape, NtXentOperand operand) {
  constexpr int kElements = kSegmentBytes / kElementBytes<P>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarpSize + threadIdx.x;
  const int row_bytes = static_cast<int>(operand.shape.row_bytes);
  for (int segment = threadIdx.y; segment < row_bytes / kSegmentBytes;
       segment += kPrepareSegments) {
    float u[kElements];
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const int d = segment * kElements + e;
      u[e] = row < shape.num_rows && d < shape.dim ? panels[shape.index(row, d)] : 0.0f;
    }
#pragma unroll
    for (int part = 0; part < kParts<P>; ++part) {
      Fragment words;
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (P == Precision::kTf32) {
          words.at[w] = round_to_tf32(u[w]);
        } else {
          words.at[w] = pack_bf16(u[2 * w], u[2 * w + 1]);
          u[2 * w] -= bit_cast_to<float>(words.at[w] << 16);
          u[2 * w + 1] -= bit_cast_to<float>(words.at[w] & 0xffff0000u);
        }
      }
      memcpy(__builtin_assume_aligned(operand.data + part * operand.shape.part_bytes() +
                                          row * row_bytes + segment * kSegmentBytes,
                                      kSegmentBytes),
             &words, kSegmentBytes);
    }
  }
}

// f(precision) with a compile-time value.
template <typename F>
void dispatch_precision(Precision precision, F f) {
  if (precision == Precision::kBf16x3)
    f(std::integral_constant<Precision, Precision::kBf16x3>{});
  else if (precision == Precision::kTf32)
    f(std::integral_constant<Precision, Precision::kTf32>{});
  else
    f(std::integral_constant<Precision, Precision::kBf16>{});
}

// f(feed) with its type, where a kernel takes so many bytes of shared memory beside it.
template <typename F>
void dispatch_feed(const NtXentOperands& operands, int64_t shared_bytes, F f) {
  dispatch_precision(operands.precision, [&](auto precision) {
    using Resident = ResidentFeed<precision()>;
    using Streamed = StreamedFeed<precision()>;
    if (Resident::shared_bytes(operands.rows.shape) + shared_bytes <= largest_shared_bytes())
      f(std::type_identity<Resident>{});
    else
      f(std::type_identity<Streamed>{});
  });
}

// f(feed, constant shift) with the types of both.
template <typename F>
void dispatch_kernel(const NtXentOperands& operands, double temperature, F f) {
  dispatch_feed(operands, 0, [&](auto feed) {
    if (has_constant_shift(temperature))
      f(feed, std::true_type{});
    else
      f(feed, std::false_type{});
  });
}

unsigned num_row_tiles(const Contrast& contrast) {
  return static_cast<unsigned>((contrast.rows.num_rows + kMmaTileRows - 1) / kMmaTileRows);
}

}  // namespace

void nt_xent_prepare_cuda(const float* panels, PanelShape shape, const NtXentOperand& operand,
                          Precision precision, cudaStream_t stream) {
  dispatch_precision(precision, [&](auto path) {
    launch("nt_xent_prepare_kernel", nt_xent_prepare_kernel<path()>,
           static_cast<unsigned>(operand.shape.num_rows / kWarpSize),
           dim3(kWarpSize, kPrepareSegments), stream, panels, shape, operand);
  });
}

void nt_xent_mma_forward_cuda(const NtXentForward<float>& args, const NtXentOperands& operands,
                              cudaStream_t stream) {
  const dim3 threads(kWarpSize, kMmaWarps);
  if (args.band_rows > 0) {
    const BandPairs bands(args.contrast.rows.num_rows, args.band_rows);
    dispatch_feed(operands, ColumnSums::kSharedBytes, [&](auto type) {
      using Feed = typename decltype(type)::type;
      launch("nt_xent_mma_symmetric_kernel", nt_xent_mma_symmetric_kernel<Feed>,
             static_cast<unsigned>(bands.count()), threads,
             Feed::shared_bytes(operands.rows.shape) + ColumnSums::kSharedBytes, stream, args,
             operands);
    });
    return;
  }
  const dim3 blocks(num_row_tiles(args.contrast), 1, static_cast<unsigned>(args.num_splits));
  dispatch_kernel(operands, args.temperature, [&](auto type, auto shift) {
    using Feed = typename decltype(type)::type;
    launch("nt_xent_mma_forward_kernel", nt_xent_mma_forward_kernel<Feed, shift()>, blocks, threads,
           Feed::shared_bytes(operands.rows.shape), stream, args, operands);
  });
}

void nt_xent_mma_backward_cuda(const NtXentBackward<float>& args, const NtXentOperands& operands,
                               cudaStream_t stream) {
  const dim3 threads(kWarpSize, kMmaWarps);
  const dim3 blocks(num_row_tiles(args.contrast),
                    static_cast<unsigned>((args.contrast.rows.dim + kSlab - 1) / kSlab),
                    static_cast<unsigned>(args.num_splits));
  dispatch_kernel(operands, args.temperature, [&](auto type, auto shift) {
    using Feed = typename decltype(type)::type;
    launch("nt_xent_mma_backward_kernel", nt_xent_mma_backward_kernel<Feed, shift()>, blocks,
           threads, Feed::shared_bytes(operands.rows.shape), stream, args, operands);
  });
}

bool has_mma() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 8;
}

}  // namespace pyhandpose
