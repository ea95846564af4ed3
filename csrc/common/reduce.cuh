// Reductions over the 32 lanes of a warp; every lane receives the result.
#pragma once

#include <cuda_runtime.h>

namespace pyhandpose {

constexpr int kWarpSize = 32;
constexpr unsigned kFullWarp = 0xffffffffu;

template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}

// The partner lane's copy of a struct of 4-byte words.
template <typename S>
__device__ __forceinline__ S shuffle_xor(const S& value, int offset) {
  static_assert(sizeof(S) % sizeof(unsigned) == 0);
  unsigned words[sizeof(S) / sizeof(unsigned)];
  memcpy(words, &value, sizeof(S));
#pragma unroll
  for (unsigned& word : words) word = __shfl_xor_sync(kFullWarp, word, offset);
  S other;
  memcpy(&other, words, sizeof(S));
  return other;
}

// value.merge(other) over groups of so many neighbouring lanes, for a commutative merge; an empty
// struct has nothing to merge.
template <int kLanes, typename S>
__device__ __forceinline__ void merge_lanes(S& value) {
  if constexpr (!__is_empty(S)) {
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) value.merge(shuffle_xor(value, offset));
  }
}

template <typename S>
__device__ __forceinline__ void merge_warp(S& value) {
  merge_lanes<kWarpSize>(value);
}

}  // namespace pyhandpose
