// Kernels of latent_affine: undo an image-space affine in a latent of P points.
//
//   latent (B,P,2) T, affine (B,2,3) acc_t<T> = [A | v], out and gradients as latent.
//
// T is double, float, Half or BFloat16; all arrays are contiguous. The maths is in
// latent_affine_math.h, its derivation in docs/maths/latent_affine.md.
#pragma once

#include <cstdint>

#include "../../common/convention.h"
#include "../../common/isa.h"
#include "../../common/scalar.h"

#if defined(PYHANDPOSE_WITH_CUDA)
struct CUstream_st;
#endif

namespace pyhandpose {

template <typename T>
struct LatentAffineForward {
  const T* latent;         // (B,P,2)
  const acc_t<T>* affine;  // (B,2,3)
  T* out;                  // (B,P,2)
  int64_t num_samples;     // B
  int64_t num_points;      // P
  Convention convention;
};

template <typename T>
struct LatentAffineBackward {
  const T* grad_out;       // (B,P,2)
  const T* latent;         // (B,P,2)
  const acc_t<T>* affine;  // (B,2,3)
  T* grad_latent;          // (B,P,2)
  int64_t num_samples;     // B
  int64_t num_points;      // P
  Convention convention;
};

// Samples [begin, end).
PYHANDPOSE_FOR_EACH_ISA(template <typename T>
                        void latent_affine_forward_cpu(const LatentAffineForward<T>& args,
                                                       int64_t begin, int64_t end);
                        template <typename T>
                        void latent_affine_backward_cpu(const LatentAffineBackward<T>& args,
                                                        int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void latent_affine_forward_cuda(const LatentAffineForward<T>& args, CUstream_st* stream);
template <typename T>
void latent_affine_backward_cuda(const LatentAffineBackward<T>& args, CUstream_st* stream);
#endif

}  // namespace pyhandpose
