// The functions of csrc/common/mma.cuh on the host, from the figures of the PTX manual.
#pragma once

#include "../../../csrc/common/mma.cuh"
#include "../../../csrc/common/scalar.h"

namespace pyhandpose {

inline void copy_async(void* shared, const void* global) {
  on_host::copy_later(shared, global, 16);
}
inline void wait_copies() { on_host::copy_now(); }

namespace on_host_ptx {

// ldmatrix .x4: matrix k's row r is where lane 8 k + r points. Lane l receives, of each matrix, the
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, or those rows of column l / 4 when transposed.
inline Fragment load(const void* shared, bool transposed) {
  return on_host::together<Fragment>(shared, [transposed](const void* const* rows, Fragment* out) {
    for (int lane = 0; lane < 32; ++lane)
      for (int k = 0; k < 4; ++k) {
        uint16_t pair[2];
        for (int e = 0; e < 2; ++e) {
          const int along = lane % 4 * 2 + e, across = lane / 4;
          const int row = transposed ? along : across, column = transposed ? across : along;
          std::memcpy(&pair[e], static_cast<const uint16_t*>(rows[8 * k + row]) + column, 2);
        }
        std::memcpy(&out[lane].at[k], pair, 4);
      }
  });
}

struct Operands {
  float c[4];
  uint32_t a[4], b[2];
};
struct Product {
  float c[4];
};

inline float bf16(uint32_t word, int half) {
  return on_host::from_bits(half == 0 ? word << 16 : word & 0xffff0000u);
}

// What the tensor core sees of a float: ten bits of mantissa.
inline float tf32(uint32_t word) { return on_host::from_bits(word & 0xffffe000u); }

inline float cut(double sum) {
  const float nearest = static_cast<float>(sum);
  const bool beyond = std::fabs(nearest) > std::fabs(sum);
  return on_host::from_bits(bit_cast_to<uint32_t>(nearest) - (beyond ? 1 : 0));
}

template <int kDepth>
void multiply(const Operands* in, Product* out) {
  static double a[16][kDepth], b[kDepth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, t = lane % 4;
    if constexpr (kDepth == 16) {
      for (int i = 0; i < 8; ++i)
        a[group + (i / 2 % 2) * 8][t * 2 + i % 2 + (i >= 4 ? 8 : 0)] =
            bf16(in[lane].a[i / 2], i % 2);
      for (int i = 0; i < 4; ++i)
        b[t * 2 + i % 2 + (i >= 2 ? 8 : 0)][group] = bf16(in[lane].b[i / 2], i % 2);
    } else {
      for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][t + i / 2 * 4] = tf32(in[lane].a[i]);
      for (int i = 0; i < 2; ++i) b[t + i * 4][group] = tf32(in[lane].b[i]);
    }
  }
  for (int row = 0; row < 16; ++row) {
    const int first_lane = row % 8 * 4, first = row / 8 * 2;  // of four lanes, two columns each
    double sums[8];
    for (int column = 0; column < 8; ++column)
      sums[column] = in[first_lane + column / 2].c[first + column % 2];
    for (int k = 0; k < kDepth; ++k)
      for (int column = 0; column < 8; ++column) sums[column] += a[row][k] * b[k][column];
    for (int column = 0; column < 8; ++column)
      out[first_lane + column / 2].c[first + column % 2] = cut(sums[column]);
  }
}

template <int kDepth>
void multiply_add(float (&c)[4], const Fragment& a, uint32_t b0, uint32_t b1) {
  const Operands in{{c[0], c[1], c[2], c[3]}, {a.at[0], a.at[1], a.at[2], a.at[3]}, {b0, b1}};
  const auto out = on_host::together<Product>(in, multiply<kDepth>);
  std::memcpy(c, out.c, sizeof(c));
}

}  // namespace on_host_ptx

inline Fragment load_matrices(const void* shared) { return on_host_ptx::load(shared, false); }
inline Fragment load_matrices_transposed(const void* shared) {
  return on_host_ptx::load(shared, true);
}
inline void multiply_add_bf16(float (&c)[4], const Fragment& a, uint32_t b0, uint32_t b1) {
  on_host_ptx::multiply_add<16>(c, a, b0, b1);
}
inline void multiply_add_tf32(float (&c)[4], const Fragment& a, uint32_t b0, uint32_t b1) {
  on_host_ptx::multiply_add<8>(c, a, b0, b1);
}

inline uint32_t pack_bf16(float low, float high) {
  return store<BFloat16>(low).bits | static_cast<uint32_t>(store<BFloat16>(high).bits) << 16;
}

inline float exp2_fast(float x) {
  const float power = std::exp2(x);
  return std::fpclassify(power) == FP_SUBNORMAL ? 0.0f : power;
}

// To nearest, ties away from zero; what is not finite stays so.
inline uint32_t round_to_tf32(float value) {
  const uint32_t bits = bit_cast_to<uint32_t>(value);
  return is_finite(value) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

}  // namespace pyhandpose
