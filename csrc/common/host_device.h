// Markers for functions that compile for the CPU and for CUDA alike.
//
// Everything in the per-item maths is forced inline: a kernel file is compiled once for each
// instruction set, and an out-of-line copy of an inline function could be merged by the linker
// into code that runs on an older CPU.
#pragma once

#if defined(__CUDACC__)
#define PYHANDPOSE_HD __host__ __device__ __forceinline__
#else
#define PYHANDPOSE_HD inline __attribute__((always_inline))
#endif
