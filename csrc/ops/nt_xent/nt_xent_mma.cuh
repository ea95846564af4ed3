// What a warp of nt_xent's tensor-core kernels does with a chunk of its operands, and with a tile.
#pragma once

#include "nt_xent_math.h"
#include "nt_xent_mma_feed.cuh"

namespace pyhandpose {

// Depth of one product, as columns of a tile.
template <Precision P>
constexpr int kProductDepth = 32 / kElementBytes<P>;

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
                                            const TileChunk& tile) {
  const Place row = place_of_rows(threadIdx.x), column = place_of_columns(threadIdx.x);
#pragma unroll
  for (int segment = 0; segment < kChunkSegments; segment += 2) {
    Fragment a[kParts<P>];
#pragma unroll
    for (int part = 0; part < kParts<P>; ++part)
      a[part] = load_matrices(tile.rows + part * kRowsChunkBytes +
                              chunk_offset(threadIdx.y * 16 + row.row, segment + row.segment));
#pragma unroll
    for (int group = 0; group < kColumnGroups; group += 2) {
      uint32_t b[2][kParts<P>][2];
#pragma unroll
      for (int part = 0; part < kParts<P>; ++part) {
        const Fragment pair =
            load_matrices(tile.columns + part * kColumnsChunkBytes +
                          chunk_offset(group * 8 + column.row, segment + column.segment));
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
    const unsigned char* columns) {
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
          memcpy(&b[r / 2][0][r % 2], columns + word_offset(column + r % 2, element + r / 2 * 8),
                 4);
      } else {
        const Place place = place_of_rows(threadIdx.x);
#pragma unroll
        for (int part = 0; part < kParts<P>; ++part) {
          const Fragment pair =
              load_matrices_transposed(columns + part * kColumnsChunkBytes +
                                       chunk_offset(k + place.row, group + place.segment));
#pragma unroll
          for (int r = 0; r < 4; ++r) b[r / 2][part][r % 2] = pair.at[r];
        }
      }
      multiply_add_parts<P>(grad[first_group + group], weights[k / kProductDepth<P>], b[0]);
      multiply_add_parts<P>(grad[first_group + group + 1], weights[k / kProductDepth<P>], b[1]);
    }
  }
}

// Cosines to exponents; -infinity, whose power is zero, for what a row leaves out.
template <Precision P>
__device__ __forceinline__ void to_exponents(float (&x)[kColumnGroups][4],
                                             const Scores<float>& scores,
                                             const LeftOut (&left_out)[2], int tile) {
  const int first_column = tile * kMmaTileColumns;
#pragma unroll
  for (int group = 0; group < kColumnGroups; ++group)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      x[group][e] =
          P == Precision::kBf16 ? scores.rough_exponent(x[group][e]) : scores.exponent(x[group][e]);
#pragma unroll
  for (int r = 0; r < 2; ++r)
    if (left_out[r].among(first_column)) {
      const uint64_t bits = left_out[r].bits(first_column) >> product_column(threadIdx.x, 0);
#pragma unroll
      for (int group = 0; group < kColumnGroups; ++group)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (bits >> (group * 8 + c) & 1) x[group][2 * r + c] = -__builtin_inff();
    }
}

// The lane's rows: two of the warp's sixteen.
__device__ __forceinline__ int64_t row_of_lane(int64_t first_row_of_block, int r) {
  return first_row_of_block + threadIdx.y * 16 + product_row(threadIdx.x, 2 * r);
}

}  // namespace pyhandpose
