// The renderer of the synthetic world: a scene to an image and its labels. CPU, no torch.
#pragma once

#include <cstdint>

#include "scene.h"

namespace pyhandpose::synthetic {

// Change this whenever any output changes: caches of rendered samples are keyed by it.
inline constexpr int kRendererVersion = 5;

// Outputs of `count` samples of S x S pixels, in C order. Any pointer but `image` may be null.
struct Buffers {
  uint8_t* image;       // (count,S,S,3) sRGB
  float* joints_img;    // (count,21,2) px
  float* joints_cam;    // (count,21,3) m
  float* intrinsics;    // (count,3,3) px
  uint8_t* visibility;  // (count,21) 0 or 1
  uint8_t* mask;        // (count,S,S) 0 or 1: hand and forearm, where nothing hides them
  float* depth;         // (count,S,S) m along z; 0 where the hand is not seen
  uint8_t* occluded;    // (count,) 1: an object hides a part of the hand or forearm
};

// Renders sample indices[0..count). Each depends on (seed, index, look, size) alone.
void render(uint64_t seed, const int64_t* indices, int64_t count, Look look, int size,
            int num_threads, const Buffers& out);

// z, m, of the surface of plain rounded cones seen by a pinhole camera, 0 where there is none: the
// renderer's own tracer on a surface of the caller's choice. `cones` is (count,8): start, end and
// the two radii; depth is (size,size).
void trace_depth(const double* cones, int count, const Camera& camera, int size, float* depth);

}  // namespace pyhandpose::synthetic
