// Objects in front of the hand.
#pragma once

#include "light.h"
#include "scene.h"

namespace pyhandpose::synthetic {

// m along the ray (unit direction, from the camera) to the object, negative where it is missed.
float trace_occluder(const Occluder& occluder, const Vec3f& direction);

// Linear RGB of the object where a ray meets it.
Vec3f shade_occluder(const Occluder& occluder, const Lighting& light, const Vec3f& direction,
                     float travel);

}  // namespace pyhandpose::synthetic
