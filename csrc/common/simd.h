// Vectors as wide as the registers of the instruction set that this file is compiled for, and
// 2^x on them. For <op>_cpu.cpp only: the names live in that instruction set's namespace.
#pragma once

#include "isa.h"
#include "scalar.h"

namespace pyhandpose::PYHANDPOSE_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kNumRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kNumRegisters = 16;
#else
constexpr int kVectorBytes = 16;
constexpr int kNumRegisters = 16;
#endif

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <typename T>
using Vec = typename VectorOf<T>::type;

template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T>
PYHANDPOSE_HD Vec<T> load_vector(const T* from) {
  Vec<T> vector;
  memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename T>
PYHANDPOSE_HD void store_vector(T* to, Vec<T> vector) {
  memcpy(to, &vector, sizeof(vector));
}

template <typename T>
PYHANDPOSE_HD Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}

// 2^x for x < 127.5, relative error below 2e-7; 2^-126 for anything less, NaN for NaN. The
// fraction f in [-1/2, 1/2] goes through the degree-6 polynomial of least relative error, the
// integer into the exponent bits.
PYHANDPOSE_HD Vec<float> exp2_vector(Vec<float> x) {
  constexpr float kRound = 0x1.8p23f;  // adding it rounds to an integer, kept in the low bits
  const Vec<float> least = broadcast(-126.0f);
  x = x < least ? least : x;
  const Vec<float> shifted = x + kRound;
  const Vec<float> f = x - (shifted - kRound);
  const auto bits = bit_cast_to<Vec<int32_t>>(shifted);
  const auto power = bit_cast_to<Vec<float>>((bits - (bit_cast_to<int32_t>(kRound) - 127)) << 23);
  Vec<float> p = f * 0.0001534581178f + 0.001339993142f;
  p = p * f + 0.00961848896f;
  p = p * f + 0.05550328776f;
  p = p * f + 0.2402264689f;
  p = p * f + 0.6931472057f;
  p = p * f + 1.0f;
  return p * power;
}

// The double path is there for checks and takes libm's.
PYHANDPOSE_HD Vec<double> exp2_vector(Vec<double> x) {
  Vec<double> y = x;
  for (int lane = 0; lane < kLanes<double>; ++lane) y[lane] = __builtin_exp2(x[lane]);
  return y;
}

template <typename T>
PYHANDPOSE_HD T sum_lanes(Vec<T> vector) {
  T lanes[kLanes<T>];
  store_vector(lanes, vector);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

}  // namespace pyhandpose::PYHANDPOSE_ISA
