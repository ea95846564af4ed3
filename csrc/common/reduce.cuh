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

}  // namespace pyhandpose
