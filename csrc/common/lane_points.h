// Points (x, y) of one row, one a lane, and structs of one number a lane.
//
// As many points as a register has lanes are taken from a row together; lane 2i holds the i-th of
// them and lane 2i + 1 the i-th of their second half, as one step of a transposition leaves them.
// CPU only.
#pragma once

#include "lane_rows.h"
#include "vec.h"

namespace pyhandpose {

template <typename S>
using AllLanes = std::make_integer_sequence<int, Lanes<S>::kCount>;

// Which of its points each lane holds.
template <typename S>
PYHANDPOSE_HD index_t<Lanes<S>> point_of_lane() {
  constexpr int kCount = Lanes<S>::kCount;
  index_t<S> points[kCount];
  for (int lane = 0; lane < kCount; ++lane) points[lane] = lane / 2 + (lane % 2) * (kCount / 2);
  return index_t<Lanes<S>>::load(points);
}

// A register of numbers as they are stored: float and double, or 16-bit floats as float.
template <typename T>
PYHANDPOSE_HD Lanes<acc_t<T>> load_lanes(const T* from) {
  using L = Lanes<acc_t<T>>;
  if constexpr (sizeof(T) == 2) {
    typename LaneTypes<uint16_t, L::kCount * 2>::Values stored;
    __builtin_memcpy(&stored, from, sizeof(stored));
    using Bits = typename LaneTypes<uint32_t, L::kCount * 4>::Values;
    return L(Float16<T>::template widen<decltype(L::v)>(__builtin_convertvector(stored, Bits)));
  } else {
    return L::load(from);
  }
}
template <typename T>
PYHANDPOSE_HD void store_lanes(T* to, Lanes<acc_t<T>> lanes) {
  using L = Lanes<acc_t<T>>;
  if constexpr (sizeof(T) == 2) {
    using Bits = typename LaneTypes<uint32_t, L::kCount * 4>::Values;
    const auto rounded =
        __builtin_convertvector(Float16<T>::template round<Bits>(lanes.v),
                                typename LaneTypes<uint16_t, L::kCount * 2>::Values);
    __builtin_memcpy(to, &rounded, sizeof(rounded));
  } else {
    lanes.store(to);
  }
}

// The points of a row from `point` on.
template <typename T>
PYHANDPOSE_HD Vec2<Lanes<acc_t<T>>> load_points(const T* row, int64_t point) {
  using S = acc_t<T>;
  Lanes<S> low = load_lanes(row + 2 * point);
  Lanes<S> high = load_lanes(row + 2 * point + Lanes<S>::kCount);
  exchange_blocks<1>(low.v, high.v, AllLanes<S>{});
  return {low, high};
}
template <typename T>
PYHANDPOSE_HD void store_points(T* row, int64_t point, Vec2<Lanes<acc_t<T>>> points) {
  using S = acc_t<T>;
  exchange_blocks<1>(points.x.v, points.y.v, AllLanes<S>{});
  store_lanes(row + 2 * point, points.x);
  store_lanes(row + 2 * point + Lanes<S>::kCount, points.y);
}

// Structs that hold numbers of the width of S, or lanes of such numbers, and nothing else.

// The wide struct whose lanes are all equal to the narrow one.
template <typename Wide, typename S, typename Narrow>
PYHANDPOSE_HD Wide in_all_lanes(const Narrow& narrow) {
  constexpr int kNumbers = sizeof(Narrow) / sizeof(S);
  static_assert(sizeof(Wide) == kNumbers * sizeof(Lanes<S>));
  S numbers[kNumbers];
  Lanes<S> lanes[kNumbers];
  __builtin_memcpy(numbers, &narrow, sizeof(numbers));
  for (int i = 0; i < kNumbers; ++i) lanes[i] = Lanes<S>(numbers[i]);
  Wide wide;
  __builtin_memcpy(&wide, lanes, sizeof(lanes));
  return wide;
}

template <typename S, int H, typename Values, int... I>
PYHANDPOSE_HD Values lanes_across(Values values, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(values, values, (I ^ H)...);
}

// wide.merge(other) over all lanes, for a commutative merge, as one lane's narrow struct.
template <typename Narrow, typename S, typename Wide, int H = Lanes<S>::kCount / 2>
PYHANDPOSE_HD Narrow merge_lanes(Wide wide) {
  constexpr int kNumbers = sizeof(Wide) / sizeof(Lanes<S>);
  static_assert(sizeof(Narrow) == kNumbers * sizeof(S));
  Lanes<S> lanes[kNumbers];
  __builtin_memcpy(lanes, &wide, sizeof(lanes));
  if constexpr (H == 0) {
    S numbers[kNumbers];
    for (int i = 0; i < kNumbers; ++i) numbers[i] = lanes[i].v[0];
    Narrow narrow;
    __builtin_memcpy(&narrow, numbers, sizeof(numbers));
    return narrow;
  } else {
    for (int i = 0; i < kNumbers; ++i) lanes[i].v = lanes_across<S, H>(lanes[i].v, AllLanes<S>{});
    Wide other;
    __builtin_memcpy(&other, lanes, sizeof(lanes));
    wide.merge(other);
    return merge_lanes<Narrow, S, Wide, H / 2>(wide);
  }
}

// What the points of a row say: a Narrow that has absorbed each of them, those that fill registers
// through Wide, the same struct of lanes. Both are made for the first point that they absorb.
template <typename Wide, typename Narrow, typename T>
PYHANDPOSE_HD Narrow gather_points(const T* row, int64_t num_points) {
  using S = acc_t<T>;
  constexpr int kCount = Lanes<S>::kCount;
  Narrow gathered(0);
  if constexpr (!__is_empty(Narrow)) {
    const int64_t in_lanes = num_points - num_points % kCount;
    if (in_lanes > 0) {
      index_t<Lanes<S>> points = point_of_lane<S>();
      Wide wide(points);
      for (int64_t p = 0; p < in_lanes; p += kCount, points += index_t<Lanes<S>>(kCount))
        wide.absorb(load_points(row, p), points);
      gathered = merge_lanes<Narrow, S>(wide);
    }
    for (int64_t p = in_lanes; p < num_points; ++p) gathered.absorb(load_point(row, p), p);
  }
  return gathered;
}

}  // namespace pyhandpose
