// procrustes' CUDA kernels, from their own source, for the host.
#include <cuda_runtime.h>

#include "../../csrc/ops/procrustes/procrustes_cuda.cu"

using namespace pyhandpose;

#define PYHANDPOSE_EXPORT(name, T)                                                                 \
  extern "C" void procrustes_forward_##name(int64_t B, int64_t N, const T* source,                 \
                                            const T* target, const T* weights, T* rotation,        \
                                            T* scale, T* translation, T* aligned, T* conditioning, \
                                            bool with_scale, bool allow_reflection) {              \
    procrustes_forward_cuda<T>({{source, target, weights, B, N},                                   \
                                rotation,                                                          \
                                scale,                                                             \
                                translation,                                                       \
                                conditioning,                                                      \
                                aligned,                                                           \
                                with_scale,                                                        \
                                allow_reflection},                                                 \
                               nullptr);                                                           \
  }                                                                                                \
  extern "C" void procrustes_backward_##name(                                                      \
      int64_t B, int64_t N, const T* source, const T* target, const T* weights, const T* rotation, \
      const T* scale, const T* conditioning, const T* grad_rotation, const T* grad_scale,          \
      const T* grad_translation, const T* grad_aligned, T* grad_source, T* grad_target,            \
      T* grad_weights, bool with_scale) {                                                          \
    procrustes_backward_cuda<T>({{source, target, weights, B, N},                                  \
                                 rotation,                                                         \
                                 scale,                                                            \
                                 conditioning,                                                     \
                                 grad_rotation,                                                    \
                                 grad_scale,                                                       \
                                 grad_translation,                                                 \
                                 grad_aligned,                                                     \
                                 grad_source,                                                      \
                                 grad_target,                                                      \
                                 grad_weights,                                                     \
                                 with_scale},                                                      \
                                nullptr);                                                          \
  }
PYHANDPOSE_EXPORT(float64, double)
PYHANDPOSE_EXPORT(float32, float)
