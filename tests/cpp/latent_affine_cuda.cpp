// latent_affine's CUDA kernels, from their own source, for the host.
#include <cuda_runtime.h>

#include "../../csrc/ops/latent_affine/latent_affine_cuda.cu"

using namespace pyhandpose;

#define PYHANDPOSE_EXPORT(name, T)                                                                 \
  extern "C" void latent_affine_forward_##name(                                                    \
      int64_t B, int64_t P, const T* latent, const acc_t<T>* affine, T* out, int64_t convention) { \
    latent_affine_forward_cuda<T>(                                                                 \
        {latent, affine, out, B, P, static_cast<Convention>(convention)}, nullptr);                \
  }                                                                                                \
  extern "C" void latent_affine_backward_##name(int64_t B, int64_t P, const T* grad_out,           \
                                                const T* latent, const acc_t<T>* affine,           \
                                                T* grad_latent, int64_t convention) {              \
    latent_affine_backward_cuda<T>(                                                                \
        {grad_out, latent, affine, grad_latent, B, P, static_cast<Convention>(convention)},        \
        nullptr);                                                                                  \
  }
PYHANDPOSE_EXPORT(float64, double)
PYHANDPOSE_EXPORT(float32, float)
PYHANDPOSE_EXPORT(float16, Half)
PYHANDPOSE_EXPORT(bfloat16, BFloat16)
