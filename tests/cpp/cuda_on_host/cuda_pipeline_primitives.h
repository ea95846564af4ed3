// Copies to shared memory in the background, on the host.
#pragma once

#include <cuda_runtime.h>

inline void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes) {
  on_host::copy_later(shared, global, bytes);
}
inline void __pipeline_commit() {}
inline void __pipeline_wait_prior(size_t) { on_host::copy_now(); }
