// How a lit surface looks.
#pragma once

#include "scene.h"

namespace pyhandpose::synthetic {

struct SurfacePoint {
  Vec3f albedo;  // linear RGB
  float gloss;
  bool is_skin;  // light scatters inside it
};

// Linear RGB towards `view` (unit) of a point with the unit `normal`. `access` is how open it lies
// to its surroundings, `lit` how much of the key light reaches it, both 0 to 1.
Vec3f illuminate(const Lighting& light, const SurfacePoint& surface, const Vec3f& normal,
                 const Vec3f& view, float access, float lit);

}  // namespace pyhandpose::synthetic
