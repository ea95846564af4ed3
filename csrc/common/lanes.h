// Lanes<S>: as many samples at once as a register of this instruction set holds.
//
// Maths that is templated on its number type and chooses by select() instead of branching runs on
// S and on Lanes<S> alike. CPU only.
#pragma once

#include <cstdint>

#include "scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pyhandpose {

#if defined(__AVX512F__)
constexpr int kLaneBytes = 64;
#elif defined(__AVX2__)
constexpr int kLaneBytes = 32;
#else
constexpr int kLaneBytes = 16;
#endif

template <typename S, int Bytes>
struct LaneTypes {
  typedef S Values __attribute__((vector_size(Bytes)));
};

// All bits of a lane, `Size` bytes wide, are set where it is true.
template <int Size, int Bytes>
struct LaneMask;
template <int Bytes>
struct LaneMask<4, Bytes> {
  typename LaneTypes<int32_t, Bytes>::Values v;
};
template <int Bytes>
struct LaneMask<8, Bytes> {
  typename LaneTypes<int64_t, Bytes>::Values v;
};

// `Bytes` is part of the type, so that no function of one instruction set can be taken for
// another's.
template <typename S, int Bytes = kLaneBytes>
struct Lanes {
  static constexpr int kCount = Bytes / static_cast<int>(sizeof(S));
  typename LaneTypes<S, Bytes>::Values v;

  Lanes() = default;
  PYHANDPOSE_HD explicit Lanes(S value) : v(value - typename LaneTypes<S, Bytes>::Values{}) {}
  PYHANDPOSE_HD explicit Lanes(typename LaneTypes<S, Bytes>::Values values) : v(values) {}

  PYHANDPOSE_HD static Lanes load(const S* values) {
    Lanes lanes;
    __builtin_memcpy(&lanes.v, values, Bytes);
    return lanes;
  }
  PYHANDPOSE_HD void store(S* values) const { __builtin_memcpy(values, &v, Bytes); }

  PYHANDPOSE_HD Lanes& operator+=(Lanes other) {
    v += other.v;
    return *this;
  }
  PYHANDPOSE_HD Lanes& operator-=(Lanes other) {
    v -= other.v;
    return *this;
  }
};

template <typename S, int Bytes>
struct Element<Lanes<S, Bytes>> {
  using type = S;
};
template <typename S, int Bytes>
struct MaskOf<Lanes<S, Bytes>> {
  using type = LaneMask<sizeof(S), Bytes>;
};
template <typename S, int Bytes>
struct IndexOf<Lanes<S, Bytes>> {
  using type = Lanes<index_t<S>, Bytes>;
};

#define PYHANDPOSE_LANES_ARITHMETIC(op)                                             \
  template <typename S, int Bytes>                                                  \
  PYHANDPOSE_HD Lanes<S, Bytes> operator op(Lanes<S, Bytes> a, Lanes<S, Bytes> b) { \
    return Lanes<S, Bytes>(a.v op b.v);                                             \
  }
PYHANDPOSE_LANES_ARITHMETIC(+)
PYHANDPOSE_LANES_ARITHMETIC(-)
PYHANDPOSE_LANES_ARITHMETIC(*)
PYHANDPOSE_LANES_ARITHMETIC(/)
#undef PYHANDPOSE_LANES_ARITHMETIC

#define PYHANDPOSE_LANES_COMPARISON(op)                                                        \
  template <typename S, int Bytes>                                                             \
  PYHANDPOSE_HD LaneMask<sizeof(S), Bytes> operator op(Lanes<S, Bytes> a, Lanes<S, Bytes> b) { \
    return {a.v op b.v};                                                                       \
  }
PYHANDPOSE_LANES_COMPARISON(<)
PYHANDPOSE_LANES_COMPARISON(<=)
PYHANDPOSE_LANES_COMPARISON(>)
PYHANDPOSE_LANES_COMPARISON(>=)
PYHANDPOSE_LANES_COMPARISON(==)
#undef PYHANDPOSE_LANES_COMPARISON

template <typename S, int Bytes>
PYHANDPOSE_HD Lanes<S, Bytes> operator-(Lanes<S, Bytes> a) {
  return Lanes<S, Bytes>(-a.v);
}
template <int Size, int Bytes>
PYHANDPOSE_HD LaneMask<Size, Bytes> operator&(LaneMask<Size, Bytes> a, LaneMask<Size, Bytes> b) {
  return {a.v & b.v};
}
template <int Size, int Bytes>
PYHANDPOSE_HD LaneMask<Size, Bytes> operator|(LaneMask<Size, Bytes> a, LaneMask<Size, Bytes> b) {
  return {a.v | b.v};
}
template <int Size, int Bytes>
PYHANDPOSE_HD LaneMask<Size, Bytes> operator!(LaneMask<Size, Bytes> a) {
  return {~a.v};
}
template <int Size, int Bytes>
PYHANDPOSE_HD bool any(LaneMask<Size, Bytes> mask) {
  uint64_t words[Bytes / sizeof(uint64_t)];
  __builtin_memcpy(words, &mask.v, Bytes);
  uint64_t found = 0;
  for (uint64_t word : words) found |= word;
  return found != 0;
}
template <typename S, int Bytes>
PYHANDPOSE_HD Lanes<S, Bytes> select(LaneMask<sizeof(S), Bytes> mask, Lanes<S, Bytes> a,
                                     Lanes<S, Bytes> b) {
  return Lanes<S, Bytes>(mask.v ? a.v : b.v);
}
template <typename S, int Bytes>
PYHANDPOSE_HD Lanes<S, Bytes> absolute(Lanes<S, Bytes> a) {
  return select(a < Lanes<S, Bytes>(S(0)), -a, a);
}
template <typename S, int Bytes>
PYHANDPOSE_HD Lanes<S, Bytes> maximum(Lanes<S, Bytes> a, Lanes<S, Bytes> b) {
  return select(a > b, a, b);
}
template <typename S, int Bytes>
PYHANDPOSE_HD LaneMask<sizeof(S), Bytes> is_finite(Lanes<S, Bytes> a) {
  return a - a == Lanes<S, Bytes>(S(0));
}

#if defined(__AVX512F__)
// With the mask of all lanes: the plain intrinsics warn of an uninitialised value in gcc 12.
PYHANDPOSE_HD Lanes<float, 64> square_root(Lanes<float, 64> a) {
  return Lanes<float, 64>(_mm512_mask_sqrt_ps(a.v, 0xffff, a.v));
}
PYHANDPOSE_HD Lanes<double, 64> square_root(Lanes<double, 64> a) {
  return Lanes<double, 64>(_mm512_mask_sqrt_pd(a.v, 0xff, a.v));
}
#elif defined(__AVX2__)
PYHANDPOSE_HD Lanes<float, 32> square_root(Lanes<float, 32> a) {
  return Lanes<float, 32>(_mm256_sqrt_ps(a.v));
}
PYHANDPOSE_HD Lanes<double, 32> square_root(Lanes<double, 32> a) {
  return Lanes<double, 32>(_mm256_sqrt_pd(a.v));
}
#else
template <typename S, int Bytes>
PYHANDPOSE_HD Lanes<S, Bytes> square_root(Lanes<S, Bytes> a) {
  Lanes<S, Bytes> root;
  for (int i = 0; i < Lanes<S, Bytes>::kCount; ++i) root.v[i] = square_root(a.v[i]);
  return root;
}
#endif

}  // namespace pyhandpose
