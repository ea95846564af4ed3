// Kernels of equivariant_nt_xent: latent_affine, then nt_xent, without a latent in between.
//
//   pack    z (M,2P) T, affine (M,2,3) -> unit rows of the moved-back latents in nt_xent's panels
//   unpack  panels and their gradient -> grad_z (M,2P) T
//
// What lies between is nt_xent's (nt_xent.h). T is double, float, Half or BFloat16. The maths is in
// equivariant_nt_xent_math.h, its derivation in docs/maths/equivariant_nt_xent.md.
#pragma once

#include "../../common/convention.h"
#include "../nt_xent/nt_xent.h"

namespace pyhandpose {

template <typename T>
struct EquivariantPack {
  NtXentPack<T> rows;      // inverse_norm is that of the moved-back latent
  const acc_t<T>* affine;  // (M,2,3) = [A | v]
  Convention convention;
};

template <typename T>
struct EquivariantUnpack {
  NtXentUnpack<T> rows;
  const T* z;              // (M,2P)
  const acc_t<T>* affine;  // (M,2,3)
  Convention convention;
};

// Panels [begin, end).
PYHANDPOSE_FOR_EACH_ISA(template <typename T>
                        void equivariant_nt_xent_pack_cpu(const EquivariantPack<T>& args,
                                                          int64_t begin, int64_t end);
                        template <typename T>
                        void equivariant_nt_xent_unpack_cpu(const EquivariantUnpack<T>& args,
                                                            int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void equivariant_nt_xent_pack_cuda(const EquivariantPack<T>& args, CUstream_st* stream);
template <typename T>
void equivariant_nt_xent_unpack_cuda(const EquivariantUnpack<T>& args, CUstream_st* stream);
#endif

}  // namespace pyhandpose
