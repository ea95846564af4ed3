// One translation unit of kernels per instruction set, chosen when the program runs.
//
// CMake compiles every <op>_cpu.cpp once for each instruction set, with PYHANDPOSE_ISA set to the
// name of the namespace that its kernels live in. <op>.h declares them for all sets with
// PYHANDPOSE_FOR_EACH_ISA, and <op>.cpp calls the best one with PYHANDPOSE_ISA_CALL.
#pragma once

#if !defined(PYHANDPOSE_ISA)
#define PYHANDPOSE_ISA baseline
#endif

#if defined(__x86_64__)
#define PYHANDPOSE_FOR_EACH_ISA(...) \
  namespace baseline {               \
  __VA_ARGS__                        \
  }                                  \
  namespace avx2 {                   \
  __VA_ARGS__                        \
  }                                  \
  namespace avx512 {                 \
  __VA_ARGS__                        \
  }
#define PYHANDPOSE_ISA_CALL(...)                                                  \
  (::pyhandpose::active_isa() == ::pyhandpose::Isa::kAvx512 ? avx512::__VA_ARGS__ \
   : ::pyhandpose::active_isa() == ::pyhandpose::Isa::kAvx2 ? avx2::__VA_ARGS__   \
                                                            : baseline::__VA_ARGS__)
#else
#define PYHANDPOSE_FOR_EACH_ISA(...) \
  namespace baseline {               \
  __VA_ARGS__                        \
  }
#define PYHANDPOSE_ISA_CALL(...) (baseline::__VA_ARGS__)
#endif

namespace pyhandpose {

enum class Isa { kBaseline, kAvx2, kAvx512 };

// The widest set that this CPU has, or the one that the environment variable PYHANDPOSE_ISA
// (baseline, avx2, avx512) asks for. An unknown or unsupported name throws std::runtime_error.
Isa active_isa();

const char* isa_name(Isa isa);

}  // namespace pyhandpose
