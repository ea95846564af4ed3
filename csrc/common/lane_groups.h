// Groups of samples, one a lane: as many as a register holds are transposed into a buffer that
// stays in the first-level cache, and the same maths runs on all of them. Samples too large for the
// buffer are read in place, one after another. For <op>_cpu.cpp only: the names live in the
// instruction set's namespace.
#pragma once

#include "isa.h"
#include "lane_rows.h"
#include "mat3.h"

namespace pyhandpose::PYHANDPOSE_ISA {

constexpr int64_t kMaxLanePoints = 64;

// Out of line, or their unrolled squares would be repeated for each tensor.
template <typename S>
__attribute__((noinline)) void gather_lanes(const S* rows, int64_t length, int64_t valid,
                                            S* lanes) {
  rows_to_lanes(rows, length, valid, lanes);
}
template <typename S>
__attribute__((noinline)) void scatter_lanes(const S* lanes, int64_t length, int64_t valid,
                                             S* rows) {
  lanes_to_rows(lanes, length, valid, rows);
}

// Where a group of samples is held: T = Lanes<S> in a buffer, entry by entry; T = S in the tensor.
template <typename T>
struct Group {
  using S = element_t<T>;
  static constexpr bool kInPlace = sizeof(T) == sizeof(S);
  static constexpr int64_t kCount = sizeof(T) / sizeof(S);

  S* unused;  // of the buffer
  int64_t first, valid;

  PYHANDPOSE_HD S* take(int64_t length) {
    S* const taken = unused;
    unused += length * kCount;
    return taken;
  }
  PYHANDPOSE_HD const S* read(const S* tensor, int64_t length) {
    if constexpr (kInPlace) {
      return tensor + first * length;
    } else {
      S* const lanes = take(length);
      gather_lanes(tensor + first * length, length, valid, lanes);
      return lanes;
    }
  }
  PYHANDPOSE_HD S* begin_write(S* tensor, int64_t length) {
    if constexpr (kInPlace)
      return tensor + first * length;
    else
      return take(length);
  }
  PYHANDPOSE_HD void end_write(const S* written, S* tensor, int64_t length) {
    if constexpr (!kInPlace) scatter_lanes(written, length, valid, tensor + first * length);
  }
};

template <typename T>
PYHANDPOSE_HD T get(const element_t<T>* held, int64_t index) {
  if constexpr (Group<T>::kInPlace)
    return held[index];
  else
    return T::load(held + index * T::kCount);
}
template <typename T>
PYHANDPOSE_HD Vec3<T> get_vector(const element_t<T>* held, int64_t index) {
  return {get<T>(held, 3 * index), get<T>(held, 3 * index + 1), get<T>(held, 3 * index + 2)};
}
template <typename T>
PYHANDPOSE_HD Mat3<T> get_matrix(const element_t<T>* held) {
  return {{get<T>(held, 0), get<T>(held, 3), get<T>(held, 6)},
          {get<T>(held, 1), get<T>(held, 4), get<T>(held, 7)},
          {get<T>(held, 2), get<T>(held, 5), get<T>(held, 8)}};
}

template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, int64_t index, T value) {
  if constexpr (Group<T>::kInPlace)
    held[index] = value;
  else
    value.store(held + index * T::kCount);
}
template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, int64_t index, Vec3<T> value) {
  put(held, 3 * index, value.x);
  put(held, 3 * index + 1, value.y);
  put(held, 3 * index + 2, value.z);
}
template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, const Mat3<T>& value) {
  put(held, 0, Vec3<T>{value.x.x, value.y.x, value.z.x});
  put(held, 1, Vec3<T>{value.x.y, value.y.y, value.z.y});
  put(held, 2, Vec3<T>{value.x.z, value.y.z, value.z.z});
}

// Calls run(Group) for the samples of [begin, end), in lanes where a group's rows fit the buffer:
// kPerPoint numbers for each point and kPerSample for each sample.
template <typename S, int kPerPoint, int kPerSample, typename F>
PYHANDPOSE_HD void for_each_group(int64_t num_points, int64_t begin, int64_t end, F run) {
  if (num_points <= kMaxLanePoints) {
    constexpr int64_t kCount = Lanes<S>::kCount;
    alignas(64) S buffer[(kPerPoint * kMaxLanePoints + kPerSample) * kCount];
    for (int64_t first = begin; first < end; first += kCount)
      run(Group<Lanes<S>>{buffer, first, end - first < kCount ? end - first : kCount});
  } else {
    for (int64_t first = begin; first < end; ++first) run(Group<S>{nullptr, first, 1});
  }
}

}  // namespace pyhandpose::PYHANDPOSE_ISA
