#include "surface.h"

#include <algorithm>
#include <cmath>

namespace pyhandpose::synthetic {
namespace {

// The same function compiled for wider vectors too, chosen when the library is loaded. Nothing in
// it depends on the width: no fused multiply-add, and every operation is correctly rounded.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define PYHANDPOSE_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PYHANDPOSE_WIDE
#endif

constexpr float kFar = 1e3f;
constexpr float kJointBlend = 1.6e-3f;  // m, between the proximal and the other phalanges

inline __attribute__((always_inline)) float smooth_min(float a, float b, float width,
                                                       float inverse_width) {
  const float gap = a < b ? b - a : a - b;
  const float h = (width - gap) * inverse_width;
  const float overlap = h > 0.0f ? h : 0.0f;
  return (a < b ? a : b) - overlap * overlap * width * 0.25f;
}

// acc = smooth_min(acc, distance to the cone), lane by lane.
inline __attribute__((always_inline)) void unite(const Cone& c, const LanePoints& p, Lanes* acc) {
  const float inverse_blend = 1.0f / c.blend;
  for (int l = 0; l < kLanes; ++l) {
    const float x = p.x[l] - c.start.x, y = p.y[l] - c.start.y, z = p.z[l] - c.start.z;
    const float axial = x * c.axis.x + y * c.axis.y + z * c.axis.z;
    const float square = x * x + y * y + z * z - axial * axial;
    const float radial2 = square > 0.0f ? square : 0.0f;
    float h = axial - std::sqrt(radial2) * c.lead;
    h = h > 0.0f ? h : 0.0f;
    h = h < c.length ? h : c.length;
    const float off = axial - h;
    const float d = std::sqrt(radial2 + off * off) - c.radius + c.slope * h;
    acc->v[l] = smooth_min(acc->v[l], d, c.blend, inverse_blend);
  }
}

inline __attribute__((always_inline)) void fill(Lanes* lanes, float value) {
  for (int l = 0; l < kLanes; ++l) lanes->v[l] = value;
}

// Point of the axis of `c` closest to `p`, as a distance along the axis.
float closest_along(const Cone& c, const Vec3f& p) {
  return clamp(dot(p - c.start, c.axis), 0.0f, c.length);
}

}  // namespace

Cone make_cone(const Vec3d& start, const Vec3d& end, double start_radius, double end_radius,
               double blend, Part part, Tissue tissue, bool at_base, const Vec3d& palmar) {
  const double length = norm(end - start);
  // One sphere inside the other has no common tangent; stay clear of it.
  const double slope = clamp((start_radius - end_radius) / length, -0.95, 0.95);
  Cone c;
  c.start = to_float(start);
  c.axis = to_float((end - start) * (1.0 / length));
  c.length = static_cast<float>(length);
  c.radius = static_cast<float>(start_radius);
  c.slope = static_cast<float>(slope);
  c.lead = static_cast<float>(slope / std::sqrt(1.0 - slope * slope));
  c.blend = static_cast<float>(blend);
  c.reach = static_cast<float>(std::max(start_radius, end_radius));
  c.part = part;
  c.tissue = tissue;
  c.at_base = at_base;
  c.palmar = to_float(palmar);
  return c;
}

ConeList Surface::all() const {
  ConeList list;
  for (int i = 0; i < count; ++i) list.add(i);
  return list;
}

Surface transform(const Surface& surface, const Frame& rotation, const Vec3d& translation) {
  const auto turn = [&](const Vec3f& v) { return rotation * Vec3d{v.x, v.y, v.z}; };
  Surface out = surface;
  for (int i = 0; i < out.count; ++i) {
    Cone& c = out.cone[i];
    c.start = to_float(turn(c.start) + translation);
    c.axis = to_float(turn(c.axis));
    c.palmar = to_float(turn(c.palmar));
  }
  return out;
}

float cone_distance(const Cone& c, const Vec3f& point, float* along) {
  const Vec3f offset = point - c.start;
  const float axial = dot(offset, c.axis);
  const float radial2 = std::max(dot(offset, offset) - axial * axial, 0.0f);
  const float h = clamp(axial - std::sqrt(radial2) * c.lead, 0.0f, c.length);
  if (along) *along = h;
  return std::sqrt(radial2 + (axial - h) * (axial - h)) - c.radius + c.slope * h;
}

PYHANDPOSE_WIDE void signed_distance(const Surface& surface, const ConeList& list,
                                     const LanePoints& points, Lanes* distance) {
  Lanes palm, base, rest;
  fill(&palm, kFar);
  int i = 0;
  for (; i < list.count && surface.cone[list.index[i]].part == kPalm; ++i) {
    unite(surface.cone[list.index[i]], points, &palm);
  }
  *distance = palm;
  while (i < list.count) {
    const Part part = surface.cone[list.index[i]].part;
    base = palm;
    fill(&rest, kFar);
    for (; i < list.count && surface.cone[list.index[i]].part == part; ++i) {
      const Cone& c = surface.cone[list.index[i]];
      unite(c, points, c.at_base ? &base : &rest);
    }
    for (int l = 0; l < kLanes; ++l) {
      const float d = smooth_min(base[l], rest[l], kJointBlend, 1.0f / kJointBlend);
      distance->v[l] = d < distance->v[l] ? d : distance->v[l];
    }
  }
}

ConeList near_ray(const Surface& surface, const ConeList& list, const Vec3f& origin,
                  const Vec3f& direction, float max_travel, float start_radius, float spread,
                  float margin) {
  ConeList out;
  for (int i = 0; i < list.count; ++i) {
    const Cone& c = surface.cone[list.index[i]];
    // Closest points of the ray (at s) and of the cone's axis (at h).
    const Vec3f between = origin - c.start;
    const float along_ray = dot(direction, between), along_axis = dot(c.axis, between);
    const float cosine = dot(direction, c.axis);
    const float denominator = 1.0f - cosine * cosine;
    float s = denominator > 1e-6f ? (cosine * along_axis - along_ray) / denominator : 0.0f;
    s = clamp(s, 0.0f, max_travel);
    const float h = clamp(along_axis + s * cosine, 0.0f, c.length);
    s = clamp(h * cosine - along_ray, 0.0f, max_travel);
    const Vec3f gap = between + direction * s - c.axis * h;
    const float allowed = c.reach + margin + start_radius + (s + c.reach) * spread;
    if (dot(gap, gap) < allowed * allowed) out.add(list.index[i]);
  }
  return out;
}

ConeList near_point(const Surface& surface, const ConeList& list, const Vec3f& point,
                    float margin) {
  ConeList out;
  for (int i = 0; i < list.count; ++i) {
    const Cone& c = surface.cone[list.index[i]];
    const Vec3f gap = point - (c.start + c.axis * closest_along(c, point));
    const float allowed = c.reach + margin;
    if (dot(gap, gap) < allowed * allowed) out.add(list.index[i]);
  }
  return out;
}

}  // namespace pyhandpose::synthetic
