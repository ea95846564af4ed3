// Rays against the surface, kLanes at a time, by sphere tracing: a step of the signed distance can
// never pass through the surface.
#pragma once

#include "surface.h"

namespace pyhandpose::synthetic {

struct Packet {
  LanePoints direction;  // unit
  Lanes travel;          // m along the ray to the surface; negative where the ray misses it
  std::array<bool, kLanes> active{};
};

// Rays of a packet spread around `axis` (unit) by at most `spread` (tangent of the angle).
struct PacketBounds {
  Vec3f axis;
  float spread;
};
PacketBounds bounds(const Packet& packet);

// Traces rays from the camera's centre; reads direction and active, writes travel.
void trace(const Surface& surface, const ConeList& list, Packet* packet);

// Positions of the hits; lanes without a hit get the position of one that has.
LanePoints hit_points(const Packet& packet);

// Unit outward normals at `points`, by central differences on a tetrahedron.
LanePoints normals(const Surface& surface, const ConeList& list, const LanePoints& points);

// 1 where nothing is near, smaller in hollows. `reach` scales the distances looked at.
Lanes ambient_access(const Surface& surface, const ConeList& list, const LanePoints& points,
                     const LanePoints& normal, float reach);

// 1 in the light, 0 in shadow, towards a distant light.
Lanes light_access(const Surface& surface, const ConeList& list, const LanePoints& points,
                   const LanePoints& normal, const Vec3f& light, float sharpness);

inline constexpr float kAmbientReach = 0.03f;  // m
inline constexpr float kShadowReach = 0.11f;   // m

}  // namespace pyhandpose::synthetic
