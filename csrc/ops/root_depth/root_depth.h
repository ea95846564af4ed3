// Kernels of root_depth: the root's depth and the 3D pose from a 2.5D pose.
//
//   joints_25d (B,J,3) = (u px, v px, z in bone lengths), intrinsics (B,3,3) or one (3,3) px,
//   scale (B,) or null (1); T is double or float, all arrays are contiguous.
//
// The maths is in root_depth_math.h, its derivation in docs/maths/root_depth.md.
#pragma once

#include <cstdint>

#include "../../common/isa.h"

#if defined(PYHANDPOSE_WITH_CUDA)
struct CUstream_st;
#endif

namespace pyhandpose {

// The numerically stable roots, or the published code's arithmetic with its clamps: that of its
// data pipeline, or that of its model.
enum class RootDepthMode { kStable, kPublishedData, kPublishedModel };

template <typename T>
struct RootDepthInputs {
  const T* joints_25d;        // (B,J,3)
  const T* intrinsics;        // (B,3,3) or (3,3)
  const T* scale;             // (B,), or null for 1
  int64_t intrinsics_stride;  // from one sample's matrix to the next: 9, or 0 for one matrix
  int64_t num_samples;        // B
  int64_t num_joints;         // J
  int64_t bone_n, bone_m;     // joints of the reference bone, distinct
  RootDepthMode mode;
};

template <typename T>
struct RootDepthForward {
  RootDepthInputs<T> in;
  T* depth;        // (B,)
  T* joints;       // (B,J,3)
  T* other_depth;  // (B,)
  int8_t* status;  // (B,)
};

// Upstream gradients that nobody computed and gradients that nobody asked for are null.
template <typename T>
struct RootDepthBackward {
  RootDepthInputs<T> in;
  const T* depth;        // (B,), as the forward wrote it: NaN marks a refused sample
  const T* grad_depth;   // (B,)
  const T* grad_joints;  // (B,J,3)
  T* grad_joints_25d;    // (B,J,3)
  T* grad_intrinsics;    // (B,3,3), one for each sample also where the matrix is shared
  T* grad_scale;         // (B,)
};

// Samples [begin, end).
PYHANDPOSE_FOR_EACH_ISA(template <typename T>
                        void root_depth_forward_cpu(const RootDepthForward<T>& args, int64_t begin,
                                                    int64_t end);
                        template <typename T>
                        void root_depth_backward_cpu(const RootDepthBackward<T>& args,
                                                     int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void root_depth_forward_cuda(const RootDepthForward<T>& args, CUstream_st* stream);
template <typename T>
void root_depth_backward_cuda(const RootDepthBackward<T>& args, CUstream_st* stream);
#endif

}  // namespace pyhandpose
