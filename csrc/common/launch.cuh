// What every CUDA launch shares.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace pyhandpose {

// Blocks for `count` items in chunks of `per_block`. Kernels stride over the grid, so the cap
// (a grid's x dimension is limited, and more blocks than this do not help) loses no item.
inline unsigned grid_size(int64_t count, int64_t per_block) {
  constexpr int64_t kMaxBlocks = 1 << 20;
  const int64_t blocks = (count + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("pyhandpose: launch of ") + kernel +
                             " failed: " + cudaGetErrorString(error));
}

#if defined(__CUDACC__)
// The shared memory whose size the launch states.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char launched_bytes[];
  return launched_bytes;
}
#endif

// What a block may ask for of it on the current device.
inline int64_t largest_shared_bytes() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
          cudaSuccess)
    return 0;
  return bytes;
}

// kernel<<<blocks, threads, shared_bytes, stream>>>(args...), checked. More than 48 KB of shared
// memory have to be asked for, on each device.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
            int64_t shared_bytes, [[maybe_unused]] cudaStream_t stream, const Arguments&... args) {
  constexpr int64_t kAlwaysGranted = 48 * 1024;
  if (shared_bytes > kAlwaysGranted)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
#if defined(__CUDACC__)
  kernel<<<blocks, threads, static_cast<size_t>(shared_bytes), stream>>>(args...);
#else
  run_on_host(kernel, blocks, threads, shared_bytes, args...);  // tests/cpp/cuda_on_host
#endif
  check_launch(name);
}
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
            cudaStream_t stream, const Arguments&... args) {
  launch(name, kernel, blocks, threads, int64_t{0}, stream, args...);
}

}  // namespace pyhandpose
