#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace pyhandpose {
namespace {

bool supports(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("f16c") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Isa::kBaseline:
      return true;
  }
#endif
  return isa == Isa::kBaseline;
}

Isa choose() {
  const char* forced = std::getenv("PYHANDPOSE_ISA");
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kBaseline}) {
    if (forced == nullptr ? supports(isa) : std::string(forced) == isa_name(isa)) {
      if (supports(isa)) return isa;
      throw std::runtime_error(std::string("PYHANDPOSE_ISA=") + forced +
                               ": this CPU does not have that instruction set; unset the variable "
                               "or choose a narrower one of avx512, avx2, baseline");
    }
  }
  throw std::runtime_error(std::string("PYHANDPOSE_ISA: expected avx512, avx2 or baseline, got '") +
                           forced + "'");
}

}  // namespace

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kBaseline:
      return "baseline";
  }
  return "unknown";
}

}  // namespace pyhandpose
