// Kernels of procrustes: the similarity that aligns sets of points, and what it does to them.
//
//   source, target (B,N,3), weights (B,N) or null (all ones), rotation (B,3,3), scale (B),
//   translation (B,3), conditioning (B), aligned (B,N,3); gradients as what they belong to.
//
// T is double or float; all arrays are contiguous. The maths is in procrustes_math.h, its
// derivation in docs/maths/procrustes.md.
#pragma once

#include <cstdint>

#include "../../common/isa.h"

#if defined(PYHANDPOSE_WITH_CUDA)
struct CUstream_st;
#endif

namespace pyhandpose {

template <typename T>
struct PointSets {
  const T* source;      // (B,N,3)
  const T* target;      // (B,N,3)
  const T* weights;     // (B,N) or null
  int64_t num_samples;  // B
  int64_t num_points;   // N
};

// aligned = scale rotation source + translation; on CUDA the forward's launch does it.
template <typename T>
struct ProcrustesAligned {
  const T* source;       // (B,N,3)
  const T* rotation;     // (B,3,3)
  const T* scale;        // (B)
  const T* translation;  // (B,3)
  T* aligned;            // (B,N,3)
  int64_t num_samples;   // B
  int64_t num_points;    // N
};

template <typename T>
struct ProcrustesForward {
  PointSets<T> sets;
  T* rotation;      // (B,3,3)
  T* scale;         // (B)
  T* translation;   // (B,3)
  T* conditioning;  // (B)
  T* aligned;       // (B,N,3) or null
  bool with_scale;  // false: the scale is 1
  bool allow_reflection;

  ProcrustesAligned<T> fitted() const {
    return {sets.source, rotation, scale, translation, aligned, sets.num_samples, sets.num_points};
  }
};

// An upstream gradient that is null counts as zero; a gradient that is null is not wanted.
template <typename T>
struct ProcrustesBackward {
  PointSets<T> sets;
  const T* rotation;          // (B,3,3), the forward's
  const T* scale;             // (B)
  const T* conditioning;      // (B)
  const T* grad_rotation;     // (B,3,3) or null
  const T* grad_scale;        // (B) or null
  const T* grad_translation;  // (B,3) or null
  const T* grad_aligned;      // (B,N,3) or null
  T* grad_source;             // (B,N,3) or null
  T* grad_target;             // (B,N,3) or null
  T* grad_weights;            // (B,N) or null
  bool with_scale;
};

// Samples [begin, end).
PYHANDPOSE_FOR_EACH_ISA(
    template <typename T>
    void procrustes_forward_cpu(const ProcrustesForward<T>& args, int64_t begin, int64_t end);
    template <typename T>
    void procrustes_aligned_cpu(const ProcrustesAligned<T>& args, int64_t begin, int64_t end);
    template <typename T>
    void procrustes_backward_cpu(const ProcrustesBackward<T>& args, int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void procrustes_forward_cuda(const ProcrustesForward<T>& args, CUstream_st* stream);
template <typename T>
void procrustes_backward_cuda(const ProcrustesBackward<T>& args, CUstream_st* stream);
#endif

}  // namespace pyhandpose
