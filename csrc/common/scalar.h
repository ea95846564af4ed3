// Element types of tensors without torch: what is stored (float, double, Half, BFloat16) and what
// is computed in (acc_t: float for everything but double).
#pragma once

#include <cstdint>
#include <cstring>

#include "host_device.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace pyhandpose {

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using acc_t = typename Accumulate<T>::type;

template <typename To, typename From>
PYHANDPOSE_HD To bit_cast_to(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// A 16-bit float's bits, held in 32, to and from float. U is uint32_t and F float, or vectors of
// as many of them: cases are chosen, not branched to.
template <typename T>
struct Float16;

template <>
struct Float16<BFloat16> {
  template <typename F, typename U>
  PYHANDPOSE_HD static F widen(U stored) {
    return bit_cast_to<F>(stored << 16);
  }
  // To nearest, ties to even; NaN stays NaN.
  template <typename U, typename F>
  PYHANDPOSE_HD static U round(F value) {
    const U bits = bit_cast_to<U>(value);
    const U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const U nan = U{} + 0x7fc0u;
    return value != value ? nan : rounded;
  }
};

template <>
struct Float16<Half> {
  // Scaling by 2^112 moves half's exponent range onto float's and is exact for subnormals too.
  template <typename F, typename U>
  PYHANDPOSE_HD static F widen(U stored) {
    const U magnitude = (stored & 0x7fffu) << 13, sign = (stored & 0x8000u) << 16;
    const U scaled = bit_cast_to<U>(bit_cast_to<F>(magnitude) * 0x1p112f);
    const U special = magnitude | 0x7f800000u;  // infinity or NaN
    return bit_cast_to<F>(((stored & 0x7c00u) == 0x7c00u ? special : scaled) | sign);
  }
  template <typename U, typename F>
  PYHANDPOSE_HD static U round(F value) {
    const U bits = bit_cast_to<U>(value);
    const U sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    const U normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
    // Subnormal in half: adding 0.5 aligns the mantissa so that the addition itself rounds.
    const U subnormal = bit_cast_to<U>(bit_cast_to<F>(magnitude) + 0.5f) - 0x3f000000u;
    const U infinity = U{} + 0x7c00u, nan = U{} + 0x7e00u;
    const U finite = magnitude < 0x38800000u ? subnormal : normal;
    const U number = magnitude >= 0x477ff000u ? infinity : finite;  // from overflow on
    return sign | (magnitude > 0x7f800000u ? nan : number);
  }
};

PYHANDPOSE_HD double load(double stored) { return stored; }
PYHANDPOSE_HD float load(float stored) { return stored; }
PYHANDPOSE_HD float load(BFloat16 stored) {
  return Float16<BFloat16>::widen<float>(static_cast<uint32_t>(stored.bits));
}
PYHANDPOSE_HD float load(Half stored) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(stored.bits));
#else
  return Float16<Half>::widen<float>(static_cast<uint32_t>(stored.bits));
#endif
}

// store<T>(x): rounds to nearest, ties to even; NaN stays NaN.
template <typename T>
PYHANDPOSE_HD T store(acc_t<T> value) {
  return value;
}
template <>
PYHANDPOSE_HD BFloat16 store<BFloat16>(float value) {
  return BFloat16{static_cast<uint16_t>(Float16<BFloat16>::round<uint32_t>(value))};
}
template <>
PYHANDPOSE_HD Half store<Half>(float value) {
#if defined(__CUDA_ARCH__)
  return Half{__half_as_ushort(__float2half_rn(value))};
#else
  return Half{static_cast<uint16_t>(Float16<Half>::round<uint32_t>(value))};
#endif
}

template <typename T>
struct Epsilon;
template <>
struct Epsilon<float> {
  static constexpr float value = 1.1920928955078125e-07f;
};
template <>
struct Epsilon<double> {
  static constexpr double value = 2.220446049250313e-16;
};

template <typename T>
struct SmallestNormal;
template <>
struct SmallestNormal<float> {
  static constexpr float value = 0x1p-126f;
};
template <>
struct SmallestNormal<double> {
  static constexpr double value = 0x1p-1022;
};

// The scalar type behind T, which differs from T where T holds several samples (lanes.h).
template <typename T>
struct Element {
  using type = T;
};
template <typename T>
using element_t = typename Element<T>::type;

// What a comparison of two T gives.
template <typename T>
struct MaskOf {
  using type = bool;
};
template <typename T>
using mask_t = typename MaskOf<T>::type;

// Integers as wide as T, so that lanes hold as many of them: places of numbers in a row.
template <typename T>
struct IndexOf;
template <>
struct IndexOf<float> {
  using type = int32_t;
};
template <>
struct IndexOf<double> {
  using type = int64_t;
};
template <typename T>
using index_t = typename IndexOf<T>::type;

// Comparisons and square roots without <cmath>'s and <algorithm>'s inline functions, whose
// out-of-line copies could leave the file that was compiled for this instruction set.
template <typename T>
PYHANDPOSE_HD T quiet_nan() {
  return static_cast<T>(__builtin_nanf(""));
}
PYHANDPOSE_HD bool is_finite(float x) { return x - x == 0.0f; }
PYHANDPOSE_HD bool is_finite(double x) { return x - x == 0.0; }
PYHANDPOSE_HD float square_root(float x) {
#if defined(__CUDA_ARCH__)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}
PYHANDPOSE_HD double square_root(double x) {
#if defined(__CUDA_ARCH__)
  return sqrt(x);
#else
  return __builtin_sqrt(x);
#endif
}
PYHANDPOSE_HD double power_of_two(double x) {
#if defined(__CUDA_ARCH__)
  return exp2(x);
#else
  return __builtin_exp2(x);
#endif
}
PYHANDPOSE_HD double logarithm_to_two(double x) {
#if defined(__CUDA_ARCH__)
  return log2(x);
#else
  return __builtin_log2(x);
#endif
}
PYHANDPOSE_HD double exponential_minus_one(double x) {
#if defined(__CUDA_ARCH__)
  return expm1(x);
#else
  return __builtin_expm1(x);
#endif
}
template <typename T>
PYHANDPOSE_HD T absolute(T x) {
  return x < T(0) ? -x : x;
}
template <typename T>
PYHANDPOSE_HD T maximum(T a, T b) {
  return a > b ? a : b;
}
// mask ? a : b, for maths that runs on several samples at once (lanes.h).
PYHANDPOSE_HD float select(bool mask, float a, float b) { return mask ? a : b; }
PYHANDPOSE_HD double select(bool mask, double a, double b) { return mask ? a : b; }
PYHANDPOSE_HD int32_t select(bool mask, int32_t a, int32_t b) { return mask ? a : b; }
PYHANDPOSE_HD int64_t select(bool mask, int64_t a, int64_t b) { return mask ? a : b; }
PYHANDPOSE_HD bool any(bool mask) { return mask; }

}  // namespace pyhandpose
