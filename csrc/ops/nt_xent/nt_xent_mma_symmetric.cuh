// The forward pass on tensor cores over half of a square's scores.
//
// Parallelisation: a block takes a pair of bands of rows (BandPairs), a tile of 128 rows after the
// other; a score's power is added to the sums of its row and of its column. Sums over columns stay
// in registers. Sums over rows go from the eight warps through shared memory to what the pair's
// earlier rows have left in device memory, in one order. Every place there has one block.
//
// What bounds the forward pass, in clocks of one of a multiprocessor's four parts, for a warp's
// 16 x 64 scores at D = 128, bfloat16 | bf16x3: operands from shared memory 640 | 1,280, products
// 384 | 1,152 (assuming 60 % of the tensor cores' peak for mma.sync), exponentials 256. With sums
// over rows as well, which takes 14 shuffles: shared memory 712 | 1,352. Assuming 78 % of the
// bound, 132 multiprocessors at 1.755 GHz would take, in ms, predicted and not yet measured:
//
//                      all scores        half of them
//     M = 16,384      0.23 | 0.46        0.14 | 0.28
//     M = 65,536      3.7  | 7.4         2.1  | 4.2
//
// Half of the scores take more than half of the time: 128 rows are on their way into shared memory
// before their tiles start, once for each pair of bands, and the pair of a band with itself
// computes both halves. Where there are fewer than 264 pairs (M <= 2,816), all scores are visited.
#pragma once

#include "nt_xent_mma.cuh"

namespace pyhandpose {

// Sums over the 128 rows of a block of what its warps hold, tile after tile of columns, each with
// what earlier rows have left in memory. A tile's sums pass through shared memory: they are staged
// after its scores, and finished after those of the next tile, whose barrier lies between.
class ColumnSums {
 public:
  static constexpr int64_t kSharedBytes = 2 * kMmaWarps * kMmaTileColumns * sizeof(float);

  __device__ __forceinline__ ColumnSums(unsigned char* shared, float* sums, int64_t num_columns)
      : staged_(reinterpret_cast<Staged*>(shared)), sums_(sums), num_columns_(num_columns) {}

  // `column[2 g + c]`: the lane's sum of column c of its two of group g.
  __device__ __forceinline__ void stage(int tile, float (&column)[2 * kColumnGroups]) const {
    // Of eight lanes with the same columns each keeps those of one group.
    keep_half<8>(column);
    keep_half<4>(column);
    keep_half<2>(column);
    reinterpret_cast<float2*>(staged_[tile & 1][threadIdx.y])[threadIdx.x] = {column[0], column[1]};
  }
  // What the sums of a tile are added to. To be asked for early, it takes its time.
  __device__ __forceinline__ float before(int tile, bool first_rows) const {
    return has_column(tile) && !first_rows ? sums_[column(tile)] : 0.0f;
  }
  __device__ __forceinline__ void finish(int tile, float before) const {
    if (!has_column(tile)) return;
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kMmaWarps; ++warp) sum += staged_[tile & 1][warp][thread_of_block()];
    sums_[column(tile)] = before + sum;
  }

 private:
  using Staged = float[kMmaWarps][kMmaTileColumns];

  // The sums over two lanes 2 kHalf apart, of which the lower one keeps the lower half.
  template <int kHalf>
  static __device__ __forceinline__ void keep_half(float (&column)[2 * kColumnGroups]) {
    const bool upper = threadIdx.x & 2 * kHalf;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      const float low = column[i], high = column[i + kHalf];
      const float kept = upper ? high : low, sent = upper ? low : high;
      column[i] = kept + shuffle_xor(sent, 2 * kHalf);
    }
  }
  __device__ __forceinline__ int64_t column(int tile) const {
    return static_cast<int64_t>(tile) * kMmaTileColumns + thread_of_block();
  }
  __device__ __forceinline__ bool has_column(int tile) const {
    return thread_of_block() < kMmaTileColumns && column(tile) < num_columns_;
  }

  Staged* staged_;
  float* sums_;
  int64_t num_columns_;
};

// The powers of a tile's exponents, added to the lane's sums of its rows and of its columns.
__device__ __forceinline__ void add_powers(const float (&x)[kColumnGroups][4], float (&rows)[2],
                                           float (&columns)[2 * kColumnGroups]) {
  float sums[2] = {};
#pragma unroll
  for (int group = 0; group < kColumnGroups; ++group)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float upper = exp2_fast(x[group][c]), lower = exp2_fast(x[group][2 + c]);
      sums[0] += upper;
      sums[1] += lower;
      columns[2 * group + c] = upper + lower;
    }
  rows[0] += sums[0];
  rows[1] += sums[1];
}

// The block takes a pair of bands, a tile of rows after the other.
template <typename Feed>
__global__ void __launch_bounds__(kWarpSize* kMmaWarps)
    nt_xent_mma_symmetric_kernel(const NtXentForward<float> args, const NtXentOperands operands) {
  const Scores<float> scores(args.temperature);
  const int64_t M = args.contrast.rows.num_rows;
  const BandPairs bands(M, args.band_rows);
  const auto [rows, columns] = bands.pair(static_cast<int>(blockIdx.x));
  const int begin = static_cast<int>(bands.begin(columns) / kMmaTileColumns);
  const int end = static_cast<int>((bands.end(columns) + kMmaTileColumns - 1) / kMmaTileColumns);
  const ColumnSums column_sums(dynamic_shared() + Feed::shared_bytes(operands.rows.shape),
                               args.band_sums + rows * M, M);

  for (int64_t first = bands.begin(rows); first < bands.end(rows); first += kMmaTileRows) {
    const bool first_rows = first == bands.begin(rows);
    LeftOut left_out[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) left_out[r] = LeftOut(args.contrast, row_of_lane(first, r));
    float sums[2] = {};
    Feed feed(operands, {first, begin, end});

    for (int tile = begin; tile < end; ++tile) {
      const bool has_previous = rows != columns && tile > begin;
      const float before = has_previous ? column_sums.before(tile - 1, first_rows) : 0.0f;
      float x[kColumnGroups][4] = {}, column[2 * kColumnGroups];
      feed.start_tile();
#pragma unroll 1  // or two blocks a multiprocessor have too few registers
      for (int chunk = 0; chunk < feed.num_chunks(); ++chunk)
        add_cosines<Feed::kPrecision>(x, feed.score_chunk(chunk));
      if (has_previous) column_sums.finish(tile - 1, before);
      to_exponents<Feed::kPrecision>(x, scores, left_out, tile);
      add_powers(x, sums, column);
      if (rows != columns) column_sums.stage(tile, column);
    }
    __syncthreads();
    if (rows != columns) column_sums.finish(end - 1, column_sums.before(end - 1, first_rows));

#pragma unroll
    for (int r = 0; r < 2; ++r) {
      // Four lanes share a row.
      sums[r] += shuffle_xor(sums[r], 1);
      sums[r] += shuffle_xor(sums[r], 2);
      const int64_t row = row_of_lane(first, r);
      if (threadIdx.x % 4 == 0 && row < M) args.band_sums[columns * M + row] = sums[r];
    }
  }
}

}  // namespace pyhandpose
