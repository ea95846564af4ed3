// Contract checks at the boundary to torch: every message names op, argument, expected and got.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <initializer_list>
#include <sstream>
#include <string>
#include <string_view>

#include "convention.h"
#include "precision.h"
#include "scalar.h"

namespace pyhandpose {

inline std::string describe_shape(const at::Tensor& tensor) {
  std::ostringstream text;
  text << '(';
  for (int64_t i = 0; i < tensor.dim(); ++i) text << (i ? "," : "") << tensor.size(i);
  text << ')';
  return text.str();
}

// `sizes` lists the expected extents, -1 for any; `shape` is how the documentation writes them.
inline void check_shape(const char* op, const char* argument, const at::Tensor& tensor,
                        const char* shape, std::initializer_list<int64_t> sizes) {
  bool matches = tensor.dim() == static_cast<int64_t>(sizes.size());
  int64_t axis = 0;
  for (int64_t size : sizes) {
    if (matches && size >= 0 && tensor.size(axis) != size) matches = false;
    ++axis;
  }
  TORCH_CHECK_VALUE(matches, op, ": argument '", argument, "' expected shape ", shape, ", got ",
                    describe_shape(tensor));
}

inline void check_dtype(const char* op, const char* argument, const at::Tensor& tensor,
                        std::initializer_list<at::ScalarType> allowed) {
  bool matches = false;
  std::ostringstream expected;
  size_t position = 0;
  for (at::ScalarType dtype : allowed) {
    matches = matches || tensor.scalar_type() == dtype;
    expected << (position == 0 ? "" : position + 1 == allowed.size() ? " or " : ", ") << dtype;
    ++position;
  }
  TORCH_CHECK_TYPE(matches, op, ": argument '", argument, "' expected dtype ", expected.str(),
                   ", got ", tensor.scalar_type());
}

inline void check_same_device(const char* op, const char* argument, const at::Tensor& tensor,
                              const char* other_argument, const at::Tensor& other) {
  TORCH_CHECK_VALUE(tensor.device() == other.device(), op, ": argument '", argument,
                    "' expected device ", other.device(), " of '", other_argument, "', got ",
                    tensor.device());
}

// A latent's kernels count its numbers in 32 bits.
inline void check_latent_length(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.size(0) == 0 || tensor.numel() / tensor.size(0) <= INT32_MAX, op,
                    ": argument '", argument,
                    "' expected fewer than 2^31 numbers in a sample, got ", describe_shape(tensor));
}

// The dtype that an element type is computed in.
inline at::ScalarType accumulate_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

// Rows that are two views of N >= 2 things, with at least one number each.
inline void check_pairs(const char* op, const char* argument, const at::Tensor& tensor,
                        const char* shape) {
  TORCH_CHECK_VALUE(tensor.size(0) >= 4 && tensor.size(0) % 2 == 0 && tensor.size(1) >= 1, op,
                    ": argument '", argument, "' expected shape ", shape,
                    " with N >= 2 pairs (row i and row i + N) of width >= 1, got ",
                    describe_shape(tensor));
}

inline void check_temperature(const char* op, double temperature) {
  TORCH_CHECK_VALUE(temperature > 0.0 && std::isfinite(temperature), op,
                    ": argument 'temperature' expected a finite number > 0, got ", temperature);
}

// From the Python name of a convention to its value.
inline Convention check_convention(const char* op, std::string_view name) {
  if (name == "paper") return Convention::kPaper;
  if (name == "official") return Convention::kOfficial;
  TORCH_CHECK_VALUE(name == "direct", op,
                    ": argument 'convention' expected 'paper', 'official' or 'direct', got '", name,
                    "'");
  return Convention::kDirect;
}

// From the Python name of a precision to its value.
inline Precision check_precision(const char* op, std::string_view name) {
  if (name == "ffma") return Precision::kFfma;
  if (name == "bf16x3") return Precision::kBf16x3;
  if (name == "tf32") return Precision::kTf32;
  TORCH_CHECK_VALUE(name == "bf16", op, ": argument 'precision' expected 'auto', 'ffma', ",
                    "'bf16x3', 'tf32' or 'bf16', got '", name, "'");
  return Precision::kBf16;
}

}  // namespace pyhandpose
