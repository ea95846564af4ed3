// The hand's skin as the zero set of a signed distance: rounded cones (the hull of two spheres),
// blended smoothly inside the palm and along each finger, and not blended between fingers.
//
// Distances are evaluated for kLanes points at once; the loops over lanes are plain loops that the
// compiler turns into vector instructions. Every operation in them is exact or correctly rounded
// (+ - * / sqrt), so all machines agree.
#pragma once

#include <array>
#include <cstdint>

#include "hand.h"
#include "vec3.h"

namespace pyhandpose::synthetic {

inline constexpr int kLanes = 16;
inline constexpr int kMaxCones = 40;

struct alignas(64) Lanes {
  float v[kLanes];
  float& operator[](int lane) { return v[lane]; }
  float operator[](int lane) const { return v[lane]; }
};

struct LanePoints {
  Lanes x, y, z;
  Vec3f at(int lane) const { return {x[lane], y[lane], z[lane]}; }
};

// Parts of the hand: cones of one part blend with each other and with the palm.
enum Part : uint8_t { kPalm, kIndex, kMiddle, kRing, kLittle, kThumb };

enum class Tissue : uint8_t { kPalmar, kPhalanx, kTip, kForearm };

struct Cone {
  Vec3f start, axis;            // unit axis from start to end
  float length, radius, slope;  // radius(h) = radius - slope * h
  float lead;                   // tan of the slant: the closest circle lies this much ahead
  float blend;                  // m, width of the smooth union with what came before
  float reach;                  // the larger of the two radii
  Part part;
  Tissue tissue;
  bool at_base;  // first cone of a finger: the one that grows out of the palm
  Vec3f palmar;  // unit, the pad side of this piece
};

Cone make_cone(const Vec3d& start, const Vec3d& end, double start_radius, double end_radius,
               double blend, Part part, Tissue tissue, bool at_base, const Vec3d& palmar);

// Which cones matter somewhere, in evaluation order.
struct ConeList {
  std::array<uint8_t, kMaxCones> index;
  int count = 0;
  void add(int cone) { index[count++] = static_cast<uint8_t>(cone); }
};

struct Surface {
  std::array<Cone, kMaxCones> cone;
  int count = 0;

  void add(const Cone& c) { cone[count++] = c; }
  ConeList all() const;
};

// Cones of a hand, in the hand frame. The palm comes first, then each finger from its base.
Surface build_surface(const Proportions& proportions, const Skeleton& skeleton,
                      double forearm_length);

// The same surface under the rigid motion x -> rotation * x + translation.
Surface transform(const Surface& surface, const Frame& rotation, const Vec3d& translation);

// Signed distance, m, to one cone; `along` receives where on the axis the closest circle lies.
float cone_distance(const Cone& cone, const Vec3f& point, float* along);

// Signed distances, m, of kLanes points to the smooth union of the listed cones.
void signed_distance(const Surface& surface, const ConeList& list, const LanePoints& points,
                     Lanes* distance);

// The cones among `list` within `margin` of the cone of rays from `origin` along the unit
// `direction`, which has radius `start_radius` at its origin and widens by `spread` per metre.
ConeList near_ray(const Surface& surface, const ConeList& list, const Vec3f& origin,
                  const Vec3f& direction, float max_travel, float start_radius, float spread,
                  float margin);

// The cones among `list` within `margin` of a point.
ConeList near_point(const Surface& surface, const ConeList& list, const Vec3f& point, float margin);

}  // namespace pyhandpose::synthetic
