// From a tensor's dtype to a C++ type, and from an at::Tensor to the torch-free pointers of a
// kernel's contract.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <utility>

#include "scalar.h"

#if defined(PYHANDPOSE_WITH_CUDA)
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace pyhandpose {

// Calls f(T{}) with the storage type of `dtype`; the op's check has admitted the dtype before.
template <typename F>
decltype(auto) dispatch_floating(at::ScalarType dtype, F&& f) {
  switch (dtype) {
    case at::kDouble:
      return f(double{});
    case at::kFloat:
      return f(float{});
    case at::kHalf:
      return f(Half{});
    case at::kBFloat16:
      return f(BFloat16{});
    default:
      TORCH_INTERNAL_ASSERT(false, "dtype ", dtype, " was not checked");
  }
}

// As dispatch_floating, for ops that compute in float32 and float64 only.
template <typename F>
decltype(auto) dispatch_full_precision(at::ScalarType dtype, F&& f) {
  switch (dtype) {
    case at::kDouble:
      return f(double{});
    case at::kFloat:
      return f(float{});
    default:
      TORCH_INTERNAL_ASSERT(false, "dtype ", dtype, " was not checked");
  }
}

template <typename T>
const T* read_pointer(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* write_pointer(at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

#if defined(PYHANDPOSE_WITH_CUDA)
// Makes the tensor's device current for the scope and names its current stream.
struct CudaScope {
  explicit CudaScope(const at::Tensor& tensor)
      : guard(tensor.device()), stream(c10::cuda::getCurrentCUDAStream().stream()) {}
  c10::cuda::CUDAGuard guard;
  cudaStream_t stream;
};
#endif

}  // namespace pyhandpose
