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

// How a square of kCount rows lies in rows (valid,length) that may be shorter than a register.
template <typename S>
struct RowSquare {
  static constexpr int kCount = Lanes<S>::kCount;
  int64_t length, valid;

  // Whether a register at row j stays within the rows' memory, running over into those after it.
  PYHANDPOSE_HD bool inside(int64_t j) const { return j * length + kCount <= valid * length; }
  PYHANDPOSE_HD int64_t row(int64_t j) const { return j < valid ? j : valid - 1; }
  PYHANDPOSE_HD int64_t width() const { return length < kCount ? length : kCount; }

  PYHANDPOSE_HD Lanes<S> load(const S* rows, int64_t j, int64_t column) const {
    const int64_t i = row(j);
    if (length >= kCount || inside(i)) return Lanes<S>::load(rows + i * length + column);
    S numbers[kCount] = {};
    for (int64_t k = 0; k < length; ++k) numbers[k] = rows[i * length + k];
    return Lanes<S>::load(numbers);
  }
  // In ascending order of j: what a short row writes beyond its end, the next ones overwrite.
  PYHANDPOSE_HD void store(Lanes<S> values, S* rows, int64_t j, int64_t column) const {
    if (j >= valid) return;
    if (length >= kCount || inside(j)) return values.store(rows + j * length + column);
    S numbers[kCount];
    values.store(numbers);
    for (int64_t k = 0; k < length; ++k) rows[j * length + k] = numbers[k];
  }
};

// rows (valid,length) -> lanes (length,kCount); the lanes beyond `valid` repeat the last row.
template <typename S>
PYHANDPOSE_HD void rows_to_lanes(const S* rows, int64_t length, int64_t valid, S* lanes) {
  constexpr int kCount = Lanes<S>::kCount;
  const RowSquare<S> at{length, valid};
  if (length == 1) {
    for (int64_t j = 0; j < kCount; ++j) lanes[j] = rows[at.row(j)];
    return;
  }
  for (int64_t begin = 0; begin < length; begin += kCount) {
    // The last square overlaps the one before it.
    const int64_t column = begin + kCount <= length || length < kCount ? begin : length - kCount;
    Lanes<S> square[kCount];
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j) square[j] = at.load(rows, j, column);
    transpose_square<kCount / 2>(square);
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j)
      if (j < at.width()) square[j].store(lanes + (column + j) * kCount);
  }
}

// lanes (length,kCount) -> rows (valid,length)
template <typename S>
PYHANDPOSE_HD void lanes_to_rows(const S* lanes, int64_t length, int64_t valid, S* rows) {
  constexpr int kCount = Lanes<S>::kCount;
  const RowSquare<S> at{length, valid};
  if (length == 1) {
    for (int64_t j = 0; j < valid; ++j) rows[j] = lanes[j];
    return;
  }
  for (int64_t begin = 0; begin < length; begin += kCount) {
    const int64_t column = begin + kCount <= length || length < kCount ? begin : length - kCount;
    Lanes<S> square[kCount];
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j)
      square[j] = Lanes<S>::load(lanes + (column + (j < at.width() ? j : 0)) * kCount);
    transpose_square<kCount / 2>(square);
#pragma GCC unroll 16
    for (int j = 0; j < kCount; ++j) at.store(square[j], rows, j, column);
  }
}

}  // namespace pyhandpose
