// What a block of nt_xent's tensor-core kernels does with a chunk of its operands.
#pragma once

#include "../../common/mma.cuh"
#include "../../common/mma_tile.h"
#include "../../common/reduce.cuh"
#include "nt_xent.h"

namespace pyhandpose {

template <Precision P>
constexpr int kParts = num_parts(P);
template <Precision P>
constexpr int kElementBytes = element_bytes(P);
template <Precision P>
constexpr int kChunkElements = kChunkBytes / kElementBytes<P>;
// Depth of one product, as columns of a tile.
template <Precision P>
constexpr int kProductDepth = 32 / kElementBytes<P>;

template <int kNumParts>
struct alignas(16) Stage {
  unsigned char rows[kNumParts][kMmaTileRows * kChunkBytes];
  unsigned char columns[kNumParts][kMmaTileColumns * kChunkBytes];
};

// One chunk of consecutive rows of an operand, all parts, by all threads of the block.
template <int kBytes, int kNumParts>
__device__ __forceinline__ void copy_chunk(unsigned char (&to)[kNumParts][kBytes],
                                           const NtXentOperand& from, int64_t first_row,
                                           int64_t chunk) {
#pragma unroll
  for (int part = 0; part < kNumParts; ++part)
#pragma unroll
    for (int e = 0; e < kBytes / kSegmentBytes; e += kMmaWarps * kWarpSize) {
      const int index = e + threadIdx.y * kWarpSize + threadIdx.x;
      const int row = index / kChunkSegments, segment = index % kChunkSegments;
      copy_async(to[part] + chunk_offset(row, segment),
                 from.data + part * from.shape.part_bytes() +
                     (first_row + row) * from.shape.row_bytes + chunk * kChunkBytes +
                     segment * kSegmentBytes);
    }
}

// Chunks in the order of a schedule, each on its way while the one before is used.
template <int kNumParts>
struct Pipeline {
  Stage<kNumParts>* stages;
  NtXentOperand rows, columns;
  int64_t first_row;
  ChunkSchedule schedule;
  int ready = 0;

  __device__ __forceinline__ void fetch(Stage<kNumParts>& stage) {
    if (schedule.done()) return;
    if (schedule.is_score()) copy_chunk(stage.rows, rows, first_row, schedule.chunk());
    copy_chunk(stage.columns, columns, schedule.tile * kMmaTileColumns, schedule.chunk());
    schedule.advance();
  }
  // After its barrier this chunk has arrived for all threads, and none still reads the one before.
  __device__ __forceinline__ const Stage<kNumParts>& next() {
    wait_copies();
    __syncthreads();
    const Stage<kNumParts>& arrived = stages[ready];
    ready ^= 1;
    fetch(stages[ready]);
    return arrived;
  }
};

template <Precision P>
__device__ __forceinline__ void multiply_add(float (&c)[4], const Fragment& a, uint32_t b0,
                                             uint32_t b1) {
  if constexpr (P == Precision::kTf32)
    multiply_add_tf32(c, a, b0, b1);
  else
    multiply_add_bf16(c, a, b0, b1);
}

// c += a b, of parts: low x high and high x low, then high x high.
template <Precision P>
__device__ __forceinline__ void multiply_add_parts(float (&c)[4], const Fragment (&a)[kParts<P>],
                                                   const uint32_t (&b)[kParts<P>][2]) {
  if constexpr (kParts<P> == 2) {
    multiply_add<P>(c, a[1], b[0][0], b[0][1]);
    multiply_add<P>(c, a[0], b[1][0], b[1][1]);
  }
  multiply_add<P>(c, a[0], b[0][0], b[0][1]);
}

// The warp's 16 x 64 cosines, as far as one chunk goes.
template <Precision P>
__device__ __forceinline__ void add_cosines(float (&cosine)[kColumnGroups][4],
                                            const Stage<kParts<P>>& stage) {
  const Place row = place_of_rows(threadIdx.x), column = place_of_columns(threadIdx.x);
#pragma unroll
  for (int segment = 0; segment < kChunkSegments; segment += 2) {
    Fragment a[kParts<P>];
#pragma unroll
    for (int part = 0; part < kParts<P>; ++part)
      a[part] = load_matrices(stage.rows[part] +
                              chunk_offset(threadIdx.y * 16 + row.row, segment + row.segment));
#pragma unroll
    for (int group = 0; group < kColumnGroups; group += 2) {
      uint32_t b[2][kParts<P>][2];
#pragma unroll
      for (int part = 0; part < kParts<P>; ++part) {
        const Fragment pair = load_matrices(
            stage.columns[part] + chunk_offset(group * 8 + column.row, segment + column.segment));
#pragma unroll
        for (int r = 0; r < 4; ++r) b[r / 2][part][r % 2] = pair.at[r];
      }
      multiply_add_parts<P>(cosine[group], a, b[0]);
      multiply_add_parts<P>(cosine[group + 1], a, b[1]);
    }
  }
}

// Weights of kDepth columns as first operand: what a lane holds of the scores is what it has to
// hold of the operand. In tf32 the columns 2 t and 2 t + 1 of a lane stand at depths t and t + 4.
template <Precision P>
__device__ __forceinline__ void weights_operand(Fragment (&a)[kParts<P>],
                                                const float (&g)[kColumnGroups][4], int group) {
  if constexpr (P == Precision::kTf32) {
    a[0] = {round_to_tf32(g[group][0]), round_to_tf32(g[group][2]), round_to_tf32(g[group][1]),
            round_to_tf32(g[group][3])};
  } else {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float left = g[group + r / 2][r % 2 * 2], right = g[group + r / 2][r % 2 * 2 + 1];
      const uint32_t high = pack_bf16(left, right);
      a[0].at[r] = high;
      if constexpr (kParts<P> == 2)
        a[1].at[r] = pack_bf16(left - bit_cast_to<float>(high << 16),
                               right - bit_cast_to<float>(high & 0xffff0000u));
    }
  }
}

// grad += weights (16 x 64) of the warp, columns (64 x one chunk of elements).
template <Precision P, int kGroups>
__device__ __forceinline__ void add_gradient(
    float (&grad)[kGroups][4], int first_group,
    const Fragment (&weights)[kMmaTileColumns / kProductDepth<P>][kParts<P>],
    const Stage<kParts<P>>& stage) {
  constexpr int kChunkGroups = kChunkElements<P> / 8;
#pragma unroll
  for (int k = 0; k < kMmaTileColumns; k += kProductDepth<P>) {
#pragma unroll
    for (int group = 0; group < kChunkGroups; group += 2) {
      uint32_t b[2][kParts<P>][2];
      if constexpr (P == Precision::kTf32) {
        const int column = k + threadIdx.x % 4 * 2, element = group * 8 + threadIdx.x / 4;
#pragma unroll
        for (int r = 0; r < 4; ++r)
          memcpy(&b[r / 2][0][r % 2],
                 stage.columns[0] + word_offset(column + r % 2, element + r / 2 * 8), 4);
      } else {
        const Place place = place_of_rows(threadIdx.x);
#pragma unroll
        for (int part = 0; part < kParts<P>; ++part) {
          const Fragment pair = load_matrices_transposed(
              stage.columns[part] + chunk_offset(k + place.row, group + place.segment));
#pragma unroll
          for (int r = 0; r < 4; ++r) b[r / 2][part][r % 2] = pair.at[r];
        }
      }
      multiply_add_parts<P>(grad[first_group + group], weights[k / kProductDepth<P>], b[0]);
      multiply_add_parts<P>(grad[first_group + group + 1], weights[k / kProductDepth<P>], b[1]);
    }
  }
}

}  // namespace pyhandpose
