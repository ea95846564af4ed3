// Rows of several samples between a tensor (a row after the other) and lanes (an entry of all
// samples after the other), by square transpositions in registers. CPU only.
#pragma once

#include <utility>

#include "lanes.h"

namespace pyhandpose {

// One step of a transposition: exchanges the off-diagonal H x H blocks of rows a (above) and b.
template <int H, typename Values, int... I>
PYHANDPOSE_HD void exchange_blocks(Values& a, Values& b, std::integer_sequence<int, I...>) {
  constexpr int kCount = sizeof...(I);
  const Values a0 = a;
  a = __builtin_shufflevector(a0, b, ((I & H) ? kCount + I - H : I)...);
  b = __builtin_shufflevector(a0, b, ((I & H) ? kCount + I : I + H)...);
}

template <int H, typename S>
PYHANDPOSE_HD void transpose_square(Lanes<S>* rows) {
  constexpr int kCount = Lanes<S>::kCount;
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i)
    if ((i & H) == 0)
      exchange_blocks<H>(rows[i].v, rows[i + H].v, std::make_integer_sequence<int, kCount>{});
  if constexpr (H > 1) transpose_square<H / 2>(rows);
}

// rows (valid,length) -> lanes (length,kCount); the lanes beyond `valid` repeat the last row.
template <typename S>
PYHANDPOSE_HD void rows_to_lanes(const S* rows, int64_t length, int64_t valid, S* lanes) {
  constexpr int kCount = Lanes<S>::kCount;
  if (length < kCount) {
    for (int64_t j = 0; j < kCount; ++j)
      for (int64_t i = 0; i < length; ++i)
        lanes[i * kCount + j] = rows[(j < valid ? j : valid - 1) * length + i];
    return;
  }
  for (int64_t begin = 0; begin < length; begin += kCount) {
    // The last square overlaps the one before it.
    const int64_t column = begin + kCount <= length ? begin : length - kCount;
    Lanes<S> square[kCount];
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j)
      square[j] = Lanes<S>::load(rows + (j < valid ? j : valid - 1) * length + column);
    transpose_square<kCount / 2>(square);
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j) square[j].store(lanes + (column + j) * kCount);
  }
}

// lanes (length,kCount) -> rows (valid,length)
template <typename S>
PYHANDPOSE_HD void lanes_to_rows(const S* lanes, int64_t length, int64_t valid, S* rows) {
  constexpr int kCount = Lanes<S>::kCount;
  if (length < kCount) {
    for (int64_t j = 0; j < valid; ++j)
      for (int64_t i = 0; i < length; ++i) rows[j * length + i] = lanes[i * kCount + j];
    return;
  }
  for (int64_t begin = 0; begin < length; begin += kCount) {
    const int64_t column = begin + kCount <= length ? begin : length - kCount;
    Lanes<S> square[kCount];
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j) square[j] = Lanes<S>::load(lanes + (column + j) * kCount);
    transpose_square<kCount / 2>(square);
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j)
      if (j < valid) square[j].store(rows + j * length + column);
  }
}

}  // namespace pyhandpose
