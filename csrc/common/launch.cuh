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

// kernel<<<blocks, threads, 0, stream>>>(args...), checked.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
            [[maybe_unused]] cudaStream_t stream, const Arguments&... args) {
#if defined(__CUDACC__)
  kernel<<<blocks, threads, 0, stream>>>(args...);
#else
  run_on_host(kernel, blocks, threads, args...);  // tests/cpp/cuda_on_host
#endif
  check_launch(name);
}

}  // namespace pyhandpose
