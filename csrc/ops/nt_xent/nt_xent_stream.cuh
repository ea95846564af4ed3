// A row's running sum of exponentials, for the kernels of nt_xent.
#pragma once

#include <cuda_runtime.h>

#include "nt_xent_math.h"

namespace pyhandpose {

__device__ __forceinline__ float exp2_of(float x) { return exp2f(x); }
__device__ __forceinline__ double exp2_of(double x) { return exp2(x); }

// A row's sum of exponentials under a shift in base 2, its maximum where that is not constant.
// A NaN score becomes the maximum and stays it.
template <bool kConstantShift, typename A>
struct StreamedSum {
  A shift;
  double sum;

  StreamedSum() = default;
  __device__ __forceinline__ explicit StreamedSum(const Scores<A>& scores)
      : shift(kConstantShift ? scores.shift : -A(3e38)), sum(0.0) {}

  __device__ __forceinline__ void raise_shift(A x) {
    if constexpr (!kConstantShift) {
      if (x > shift || x != x) {
        if (sum != 0.0) sum *= exp2_of(shift - x);
        shift = x;
      }
    }
  }
  __device__ __forceinline__ void merge(const StreamedSum& other) {
    raise_shift(other.shift);
    if (other.sum == 0.0) return;
    sum += kConstantShift ? other.sum : other.sum * exp2_of(other.shift - shift);
  }
};

}  // namespace pyhandpose
