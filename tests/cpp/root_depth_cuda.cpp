// root_depth's CUDA kernels, from their own source, for the host.
#include <cuda_runtime.h>

#include "../../csrc/ops/root_depth/root_depth_cuda.cu"

using namespace pyhandpose;

#define PYHANDPOSE_EXPORT(name, T)                                                                 \
  static RootDepthInputs<T> inputs(int64_t B, int64_t J, const T* joints_25d, const T* intrinsics, \
                                   int64_t stride, const T* scale, int64_t n, int64_t m,           \
                                   int mode) {                                                     \
    return {joints_25d, intrinsics, scale, stride, B, J, n, m, static_cast<RootDepthMode>(mode)};  \
  }                                                                                                \
  extern "C" void root_depth_forward_##name(int64_t B, int64_t J, const T* joints_25d,             \
                                            const T* intrinsics, int64_t stride, const T* scale,   \
                                            int64_t n, int64_t m, int64_t mode, T* depth,          \
                                            T* joints, T* other_depth, int8_t* status) {           \
    root_depth_forward_cuda<T>({inputs(B, J, joints_25d, intrinsics, stride, scale, n, m, mode),   \
                                depth, joints, other_depth, status},                               \
                               nullptr);                                                           \
  }                                                                                                \
  extern "C" void root_depth_backward_##name(                                                      \
      int64_t B, int64_t J, const T* joints_25d, const T* intrinsics, int64_t stride,              \
      const T* scale, int64_t n, int64_t m, int64_t mode, const T* depth, const T* grad_depth,     \
      const T* grad_joints, T* grad_joints_25d, T* grad_intrinsics, T* grad_scale) {               \
    root_depth_backward_cuda<T>(                                                                   \
        {inputs(B, J, joints_25d, intrinsics, stride, scale, n, m, mode), depth, grad_depth,       \
         grad_joints, grad_joints_25d, grad_intrinsics, grad_scale},                               \
        nullptr);                                                                                  \
  }
PYHANDPOSE_EXPORT(float64, double)
PYHANDPOSE_EXPORT(float32, float)
