#include "occluder.h"

#include <algorithm>
#include <cmath>

namespace pyhandpose::synthetic {
namespace {

// Signed distance, m.
float occluder_distance(const Occluder& o, const Vec3f& point) {
  const Vec3f offset = point - o.center;
  const float x = dot(offset, o.axis_x), y = dot(offset, o.axis_y), z = dot(offset, o.axis_z);
  const auto outside = [](float a) { return a > 0.0f ? a : 0.0f; };
  const auto size = [](float a) { return a < 0.0f ? -a : a; };
  switch (o.solid) {
    case Solid::kSphere:
      return std::sqrt(x * x + y * y + z * z) - o.half.x;
    case Solid::kBox: {
      const float edge = 0.15f * std::min(o.half.x, o.half.z);  // rounded edges
      const float a = size(x) - o.half.x + edge, b = size(y) - o.half.y + edge;
      const float c = size(z) - o.half.z + edge;
      const float out =
          std::sqrt(outside(a) * outside(a) + outside(b) * outside(b) + outside(c) * outside(c));
      return out + std::min(std::max(a, std::max(b, c)), 0.0f) - edge;
    }
    case Solid::kCapsule: {
      const float b = y - clamp(y, -o.half.y, o.half.y);
      return std::sqrt(x * x + b * b + z * z) - o.half.x;
    }
    case Solid::kCylinder: {
      const float a = std::sqrt(x * x + z * z) - o.half.x, b = size(y) - o.half.y;
      return std::min(std::max(a, b), 0.0f) +
             std::sqrt(outside(a) * outside(a) + outside(b) * outside(b));
    }
  }
  return 0.0f;
}

}  // namespace

float trace_occluder(const Occluder& o, const Vec3f& direction) {
  const float middle = dot(o.center, direction);
  const Vec3f off = o.center - direction * middle;
  if (dot(off, off) > o.bound * o.bound) return -1.0f;
  float travel = std::max(middle - o.bound, 0.01f);
  for (int step = 0; step < 60 && travel < middle + o.bound; ++step) {
    const float d = occluder_distance(o, direction * travel);
    if (d < 1e-4f) return travel;
    travel += d;
  }
  return -1.0f;
}

Vec3f shade_occluder(const Occluder& o, const Lighting& light, const Vec3f& direction,
                     float travel) {
  const Vec3f point = direction * travel;
  constexpr float kStep = 2e-4f;  // m
  const auto slope = [&](const Vec3f& d) {
    return occluder_distance(o, point + d) - occluder_distance(o, point - d);
  };
  const Vec3f gradient{slope({kStep, 0, 0}), slope({0, kStep, 0}), slope({0, 0, kStep})};
  const Vec3f normal = gradient * (1.0f / (norm(gradient) + 1e-20f));
  const float band = std::floor(dot(point - o.center, o.axis_y) * 90.0f);
  const bool dark = static_cast<int>(band) & 1;
  const SurfacePoint surface{o.albedo * (dark ? 1.0f - o.stripes : 1.0f), o.gloss, false};
  return illuminate(light, surface, normal, -direction, 1.0f, 1.0f);
}

}  // namespace pyhandpose::synthetic
