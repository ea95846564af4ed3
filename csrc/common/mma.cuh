// Tensor-core instructions of compute capability 8.0 and up, and what feeds them.
//
// The only inline assembly. Without nvcc there are declarations alone: a test defines them
// (tests/cpp/cuda_on_host) and runs the kernels on the host.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyhandpose {

// Four registers of a lane: a first operand, or two groups of columns of a second one.
struct Fragment {
  uint32_t at[4];
};

#if defined(__CUDACC__)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define PYHANDPOSE_PTX(...) asm volatile(__VA_ARGS__)
#define PYHANDPOSE_PTX_FUNCTION(...) asm(__VA_ARGS__)  // of its operands alone
#else
#define PYHANDPOSE_PTX(...) __trap()  // never launched there
#define PYHANDPOSE_PTX_FUNCTION(...) __trap()
#endif

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from device to shared memory, in the background.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
  PYHANDPOSE_PTX("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)),
                 "l"(global) : "memory");
}
// Waits for all of this thread's copies.
__device__ __forceinline__ void wait_copies() {
  PYHANDPOSE_PTX("cp.async.wait_all;" :: : "memory");
}

// Four 8 x 8 matrices of 16-bit elements; lanes 8 k to 8 k + 7 point at the rows of matrix k.
__device__ __forceinline__ Fragment load_matrices(const void* shared) {
  Fragment f = {};
  PYHANDPOSE_PTX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(f.at[0]),
                 "=r"(f.at[1]), "=r"(f.at[2]),
                 "=r"(f.at[3]) : "r"(shared_address(shared)) : "memory");
  return f;
}
__device__ __forceinline__ Fragment load_matrices_transposed(const void* shared) {
  Fragment f = {};
  PYHANDPOSE_PTX(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(f.at[0]),
      "=r"(f.at[1]), "=r"(f.at[2]), "=r"(f.at[3]) : "r"(shared_address(shared)) : "memory");
  return f;
}

// c (16 x 8) += a (16 x 16) b (16 x 8)
__device__ __forceinline__ void multiply_add_bf16(float (&c)[4], const Fragment& a, uint32_t b0,
                                                  uint32_t b1) {
  PYHANDPOSE_PTX_FUNCTION(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(c[0]),
      "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]),
      "r"(b0), "r"(b1));
}
// c (16 x 8) += a (16 x 8) b (8 x 8)
__device__ __forceinline__ void multiply_add_tf32(float (&c)[4], const Fragment& a, uint32_t b0,
                                                  uint32_t b1) {
  PYHANDPOSE_PTX_FUNCTION(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(c[0]),
      "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]),
      "r"(b0), "r"(b1));
}

// Two bfloat16 in a register, `low` in its lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed = 0;
  PYHANDPOSE_PTX_FUNCTION("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
// The nearest number with ten bits of mantissa.
__device__ __forceinline__ uint32_t round_to_tf32(float value) {
  uint32_t rounded = 0;
  PYHANDPOSE_PTX_FUNCTION("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
}

// 2^x to two units in the last place; what would be denormal is zero.
__device__ __forceinline__ float exp2_fast(float x) {
  float power = 0.0f;
  PYHANDPOSE_PTX_FUNCTION("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

#undef PYHANDPOSE_PTX_FUNCTION
#undef PYHANDPOSE_PTX

#else

void copy_async(void* shared, const void* global);
void wait_copies();
Fragment load_matrices(const void* shared);
Fragment load_matrices_transposed(const void* shared);
void multiply_add_bf16(float (&c)[4], const Fragment& a, uint32_t b0, uint32_t b1);
void multiply_add_tf32(float (&c)[4], const Fragment& a, uint32_t b0, uint32_t b1);
uint32_t pack_bf16(float low, float high);
uint32_t round_to_tf32(float value);
float exp2_fast(float x);

#endif

}  // namespace pyhandpose
