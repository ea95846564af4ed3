// Just enough of CUDA to run a kernel's own source on the host: one block at a time, every thread a
// fibre of its own, so barriers, shuffles and the instructions of a whole warp mean what they mean
// on a device. A barrier that some threads never reach ends the program.
//
// What a warp's instructions do is written here a second time, from the PTX manual's figures
// (ldmatrix; mma.m16n8k16 and mma.m16n8k8), and independently of csrc/common/mma_tile.h. Products
// are summed up exactly and cut to float, towards zero as tensor cores do. Copies to shared memory
// happen when they are waited for. Dynamic shared memory starts as NaN; more of it than was
// granted, or a write beyond its end, ends the program.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

using std::exp2;
using std::expm1;
using std::log2;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct float2 {
  float x, y;
};
using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor, cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }

namespace on_host {
inline int largest_shared_bytes = 227 * 1024;  // of this device, if asked for
inline std::map<const void*, int> granted_shared_bytes;
}  // namespace on_host

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 8 : on_host::largest_shared_bytes;
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  if (bytes > on_host::largest_shared_bytes) return cudaErrorInvalidValue;
  on_host::granted_shared_bytes[reinterpret_cast<const void*>(kernel)] = bytes;
  return cudaSuccess;
}

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace on_host {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 256 * 1024;

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fibre {
  jmp_buf context;
  std::unique_ptr<char[]> stack;  // from its first step on
  std::vector<Copy> copies;
  bool finished = false;
};

struct Barrier {
  int arrived = 0;
  long generation = 0;
};

struct Warp {
  Barrier barrier;
  alignas(64) unsigned char in[kWarp * 64], out[kWarp * 64];
};

struct Block {
  std::vector<Fibre> fibres;
  std::vector<Warp> warps;
  unsigned char* shared = nullptr;
  Barrier barrier;
  jmp_buf scheduler;
  std::function<void()> kernel;
  int current = 0;
  bool progress = false;
};
inline Block* block = nullptr;

// As many bytes as a launch states, with a guard behind them.
class DynamicShared {
 public:
  explicit DynamicShared(size_t bytes) : bytes_(bytes), memory_(bytes + 2 * kGuard) {}

  unsigned char* begin() {
    const size_t address = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (kGuard - address % kGuard) % kGuard;
  }
  void forget() { std::memset(begin(), 0xff, bytes_ + kGuard / 2); }
  void check() {
    for (size_t i = bytes_; i < bytes_ + kGuard / 2; ++i)
      if (begin()[i] != 0xff) {
        std::fprintf(stderr, "a write beyond the %zu bytes of shared memory\n", bytes_);
        std::abort();
      }
  }

 private:
  static constexpr size_t kGuard = 128;
  size_t bytes_;
  std::vector<unsigned char> memory_;
};

// From a fibre to the scheduler, and back later. Unlike swapcontext, which sets the signal mask,
// setjmp does not call the operating system.
[[gnu::noinline]] inline void leave(Fibre& fibre) {
  if (_setjmp(fibre.context) == 0) _longjmp(block->scheduler, 1);
}

// A fibre's stack: one kernel after another.
inline void live() {
  for (;;) {
    block->kernel();
    Fibre& fibre = block->fibres[block->current];
    fibre.finished = block->progress = true;
    leave(fibre);
  }
}

[[gnu::noinline]] inline void resume(Fibre& fibre) {
  if (_setjmp(block->scheduler) != 0) return;
  if (fibre.stack) _longjmp(fibre.context, 1);
  fibre.stack.reset(new char[kStackBytes]);
  static ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fibre.stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, live, 0);
  setcontext(&context);
}

// True for the last of `count` threads to arrive, which goes on at once.
template <typename Last>
void wait(Barrier& barrier, int count, Last last) {
  const long generation = barrier.generation;
  block->progress = true;
  if (++barrier.arrived == count) {
    last();
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) leave(block->fibres[block->current]);
}

inline void copy_later(void* to, const void* from, size_t bytes) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes != 0) {
    std::fprintf(stderr, "a copy of %zu bytes is not aligned to them\n", bytes);
    std::abort();
  }
  block->fibres[block->current].copies.push_back({to, from, bytes});
}

inline void copy_now() {
  auto& copies = block->fibres[block->current].copies;
  for (const Copy& copy : copies) std::memcpy(copy.to, copy.from, copy.bytes);
  copies.clear();
}

inline void run_block() {
  const int count = static_cast<int>(block->fibres.size());
  for (Fibre& fibre : block->fibres) fibre.finished = false;
  block->barrier = {};
  for (Warp& warp : block->warps) warp.barrier = {};
  for (int finished = 0; finished < count;) {
    block->progress = false;
    finished = 0;
    for (int i = 0; i < count; ++i) {
      Fibre& fibre = block->fibres[i];
      if (!fibre.finished) {
        block->current = i;
        const unsigned index = static_cast<unsigned>(i);
        threadIdx = dim3(index % blockDim.x, index / blockDim.x % blockDim.y,
                         index / (blockDim.x * blockDim.y));
        resume(fibre);
      }
      finished += fibre.finished;
    }
    if (!block->progress) {
      std::fprintf(stderr, "threads wait at a barrier that others never reach\n");
      std::abort();
    }
  }
}

template <typename... Parameters, typename... Arguments>
void run(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, int64_t shared_bytes,
         const Arguments&... args) {
  const auto granted = granted_shared_bytes.find(reinterpret_cast<const void*>(kernel));
  if (shared_bytes > (granted == granted_shared_bytes.end() ? 48 * 1024 : granted->second)) {
    std::fprintf(stderr, "%lld bytes of shared memory were not granted\n",
                 static_cast<long long>(shared_bytes));
    std::abort();
  }
  Block memory;
  DynamicShared shared(static_cast<size_t>(shared_bytes));
  memory.shared = shared.begin();
  const unsigned count = threads.x * threads.y * threads.z;
  memory.fibres = std::vector<Fibre>(count);
  memory.warps = std::vector<Warp>((count + kWarp - 1) / kWarp);
  memory.kernel = [&] { kernel(args...); };
  block = &memory;
  blockDim = threads;
  gridDim = blocks;
  for (unsigned z = 0; z < blocks.z; ++z)
    for (unsigned y = 0; y < blocks.y; ++y)
      for (unsigned x = 0; x < blocks.x; ++x) {
        blockIdx = dim3(x, y, z);
        shared.forget();
        run_block();
        shared.check();
      }
  block = nullptr;
}

// One instruction of a whole warp: all lanes' inputs to all lanes' outputs.
template <typename Out, typename In, typename F>
Out together(const In& in, F f) {
  static_assert(sizeof(In) <= 64 && sizeof(Out) <= 64);
  Warp& warp = block->warps[block->current / kWarp];
  const int lane = block->current % kWarp;
  std::memcpy(warp.in + lane * sizeof(In), &in, sizeof(In));
  wait(warp.barrier, kWarp, [&] {
    f(reinterpret_cast<const In*>(warp.in), reinterpret_cast<Out*>(warp.out));
  });
  Out out;
  std::memcpy(&out, warp.out + lane * sizeof(Out), sizeof(Out));
  return out;
}

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace on_host

inline void __syncthreads() {
  on_host::wait(on_host::block->barrier, static_cast<int>(on_host::block->fibres.size()), [] {});
}

inline void __syncwarp() {
  on_host::wait(on_host::block->warps[on_host::block->current / on_host::kWarp].barrier,
                on_host::kWarp, [] {});
}

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return on_host::together<T>(value, [mask](const T* in, T* out) {
    for (int lane = 0; lane < on_host::kWarp; ++lane) out[lane] = in[lane ^ mask];
  });
}

namespace pyhandpose {

template <typename... Parameters, typename... Arguments>
void run_on_host(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, int64_t shared_bytes,
                 const Arguments&... args) {
  on_host::run(kernel, blocks, threads, shared_bytes, args...);
}

inline unsigned char* dynamic_shared() { return on_host::block->shared; }

}  // namespace pyhandpose
