// Rows of a warp's 32 samples, one a thread, on their way through shared memory.
//
// The rows are one piece of device memory. It is copied flat, in the background and 16 bytes at a
// time, so that all that a warp reads is on its way at once. Numbers of 32 rows at the same place
// are in different banks where the length is odd; a row of even length is padded by one number.
#pragma once

#include <cuda_pipeline_primitives.h>

#include <cstdint>
#include <type_traits>

#include "reduce.cuh"

namespace pyhandpose {

__host__ __device__ __forceinline__ int64_t odd(int64_t length) { return length | 1; }

// A warp's rows of this length take so many numbers of shared memory: whole pieces of 16 bytes.
__host__ __device__ __forceinline__ int64_t warp_numbers(int64_t length) {
  return kWarpSize * odd(length);
}

// All rows that were fetched are there, for every thread of the warp.
__device__ __forceinline__ void wait_for_rows() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncwarp();
}

template <typename T>
struct alignas(16) SixteenBytes {
  static constexpr int kCount = 16 / sizeof(T);
  T at[kCount];
};

// The block is the warp. Where not Staged, rows stay in the tensor.
template <typename T, bool Staged>
struct WarpRows {
  T* shared;       // warp_numbers(length), where Staged
  int64_t length;  // of a row
  int64_t first;   // the warp's first sample
  int valid;       // its number of samples

  // This thread's row.
  __device__ __forceinline__ T* own(T* tensor) const {
    return const_cast<T*>(own(static_cast<const T*>(tensor)));
  }
  __device__ __forceinline__ const T* own(const T* tensor) const {
    if constexpr (Staged)
      return shared + static_cast<int>(threadIdx.x) * static_cast<int>(odd(length));
    else
      return tensor + (first + threadIdx.x) * length;
  }

  // See wait_for_rows.
  __device__ __forceinline__ void fetch(const T* tensor) const {
    if constexpr (Staged)
      visit(tensor, [](auto* in_shared, const auto* in_tensor) {
        __pipeline_memcpy_async(in_shared, in_tensor, sizeof(*in_tensor));
      });
  }
  // After which shared memory is free again.
  __device__ __forceinline__ void write(T* tensor) const {
    if constexpr (Staged) {
      __syncwarp();
      visit(tensor, [](const auto* in_shared, auto* in_tensor) { *in_tensor = *in_shared; });
      __syncwarp();
    }
  }

 private:
  // copy(pointer into shared memory, pointer into the tensor) for each piece of this thread.
  template <typename Tensor, typename F>
  __device__ __forceinline__ void visit(Tensor* tensor, F copy) const {
    using Piece =
        std::conditional_t<std::is_const_v<Tensor>, const SixteenBytes<T>, SixteenBytes<T>>;
    Tensor* const rows = tensor + first * length;
    const int row = static_cast<int>(length), count = valid * row;
    const int lane = static_cast<int>(threadIdx.x);
    int next = lane;
    if (row % 2 == 1 && reinterpret_cast<uintptr_t>(rows) % sizeof(Piece) == 0) {
      const int pieces = count / Piece::kCount;
      for (int i = lane; i < pieces; i += kWarpSize)
        copy(reinterpret_cast<SixteenBytes<T>*>(shared) + i, reinterpret_cast<Piece*>(rows) + i);
      next += pieces * Piece::kCount;
    }
#pragma unroll 1  // not the way that is to be fast
    for (; next < count; next += kWarpSize)
      copy(shared + next + (row % 2 == 1 ? 0 : next / row), rows + next);
  }
};

}  // namespace pyhandpose
