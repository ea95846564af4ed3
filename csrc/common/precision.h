// How the products over all pairs of rows are computed on CUDA.
#pragma once

#include "host_device.h"

namespace pyhandpose {

enum class Precision {
  kFfma,    // in the dtype of the sums, without tensor cores
  kBf16x3,  // each number as two bfloat16, high and low part; three of the four products
  kTf32,    // numbers rounded to ten bits of mantissa
  kBf16,    // numbers rounded to bfloat16
};

PYHANDPOSE_HD constexpr int num_parts(Precision precision) {
  return precision == Precision::kBf16x3 ? 2 : 1;
}
PYHANDPOSE_HD constexpr int element_bytes(Precision precision) {
  return precision == Precision::kTf32 ? 4 : 2;
}

}  // namespace pyhandpose
