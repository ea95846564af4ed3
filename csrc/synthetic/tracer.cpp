#include "tracer.h"

#include <algorithm>
#include <cmath>

namespace pyhandpose::synthetic {
namespace {

constexpr int kMaxSteps = 64;
constexpr float kTouch = 4e-5f;      // m; closer than this is on the surface
constexpr float kLastTouch = 4e-4f;  // m; the same after the last step, for grazing rays

void along(const LanePoints& start, const LanePoints& direction, const Lanes& travel,
           LanePoints* out) {
  for (int l = 0; l < kLanes; ++l) {
    out->x[l] = start.x[l] + direction.x[l] * travel[l];
    out->y[l] = start.y[l] + direction.y[l] * travel[l];
    out->z[l] = start.z[l] + direction.z[l] * travel[l];
  }
}

}  // namespace

PacketBounds bounds(const Packet& p) {
  Vec3f sum{0, 0, 0};
  for (int l = 0; l < kLanes; ++l) {
    if (p.active[l]) sum = sum + p.direction.at(l);
  }
  const Vec3f axis = normalize(sum);
  float least = 1.0f;
  for (int l = 0; l < kLanes; ++l) {
    if (p.active[l]) least = std::min(least, dot(axis, p.direction.at(l)));
  }
  const float sine2 = std::max(1.0f - least * least, 0.0f);
  return {axis, std::sqrt(sine2) / least};
}

void trace(const Surface& surface, const ConeList& list, Packet* p) {
  float nearest = 1e3f, farthest = 0.0f;
  for (int i = 0; i < list.count; ++i) {
    const Cone& c = surface.cone[list.index[i]];
    const float middle = norm(c.start + c.axis * (0.5f * c.length));
    const float bound = 0.5f * c.length + c.reach + c.blend;
    nearest = std::min(nearest, middle - bound);
    farthest = std::max(farthest, middle + bound);
  }
  nearest = std::max(nearest, 0.0f);
  const LanePoints origin{};
  LanePoints position;
  Lanes travel, distance;
  // 1 while a ray is on its way, 0 when it has arrived or left.
  Lanes moving;
  for (int l = 0; l < kLanes; ++l) {
    travel[l] = nearest;
    moving[l] = p->active[l] ? 1.0f : 0.0f;
  }
  for (int step = 0; step < kMaxSteps; ++step) {
    along(origin, p->direction, travel, &position);
    signed_distance(surface, list, position, &distance);
    float any = 0.0f;
    for (int l = 0; l < kLanes; ++l) {
      // The last step, from within kTouch, is taken too: what is left is of second order.
      travel[l] += moving[l] * distance[l];
      moving[l] = (distance[l] > kTouch && travel[l] < farthest) ? moving[l] : 0.0f;
      any += moving[l];
    }
    if (any == 0.0f) break;
  }
  for (int l = 0; l < kLanes; ++l) {
    const bool hit = p->active[l] && travel[l] < farthest && distance[l] < kLastTouch;
    p->travel[l] = hit ? travel[l] : -1.0f;
  }
}

LanePoints hit_points(const Packet& p) {
  int any = 0;
  for (int l = 0; l < kLanes; ++l) {
    if (p.travel[l] > 0.0f) any = l;
  }
  LanePoints out;
  for (int l = 0; l < kLanes; ++l) {
    const int from = p.travel[l] > 0.0f ? l : any;
    const Vec3f point = p.direction.at(from) * p.travel[from];
    out.x[l] = point.x;
    out.y[l] = point.y;
    out.z[l] = point.z;
  }
  return out;
}

LanePoints normals(const Surface& surface, const ConeList& list, const LanePoints& points) {
  constexpr float kStep = 3e-4f;  // m
  constexpr float kCorner[4][3] = {{1, -1, -1}, {-1, -1, 1}, {-1, 1, -1}, {1, 1, 1}};
  LanePoints out{};
  LanePoints moved;
  Lanes distance;
  for (const auto& corner : kCorner) {
    for (int l = 0; l < kLanes; ++l) {
      moved.x[l] = points.x[l] + kStep * corner[0];
      moved.y[l] = points.y[l] + kStep * corner[1];
      moved.z[l] = points.z[l] + kStep * corner[2];
    }
    signed_distance(surface, list, moved, &distance);
    for (int l = 0; l < kLanes; ++l) {
      out.x[l] += corner[0] * distance[l];
      out.y[l] += corner[1] * distance[l];
      out.z[l] += corner[2] * distance[l];
    }
  }
  for (int l = 0; l < kLanes; ++l) {
    const float scale =
        1.0f / std::sqrt(out.x[l] * out.x[l] + out.y[l] * out.y[l] + out.z[l] * out.z[l] + 1e-20f);
    out.x[l] *= scale;
    out.y[l] *= scale;
    out.z[l] *= scale;
  }
  return out;
}

Lanes ambient_access(const Surface& surface, const ConeList& list, const LanePoints& points,
                     const LanePoints& normal, float reach) {
  constexpr float kHeight[3] = {0.16f, 0.45f, 1.0f}, kWeight[3] = {0.45f, 0.33f, 0.22f};
  Lanes access, travel, distance;
  LanePoints position;
  for (int l = 0; l < kLanes; ++l) access[l] = 1.0f;
  for (int k = 0; k < 3; ++k) {
    const float height = kHeight[k] * reach, scale = kWeight[k] / height;
    for (int l = 0; l < kLanes; ++l) travel[l] = height;
    along(points, normal, travel, &position);
    signed_distance(surface, list, position, &distance);
    for (int l = 0; l < kLanes; ++l) {
      const float missing = height - distance[l];
      access[l] -= (missing > 0.0f ? missing : 0.0f) * scale;
    }
  }
  for (int l = 0; l < kLanes; ++l) access[l] = access[l] > 0.0f ? access[l] : 0.0f;
  return access;
}

Lanes light_access(const Surface& surface, const ConeList& list, const LanePoints& points,
                   const LanePoints& normal, const Vec3f& light, float sharpness) {
  constexpr float kTravel[6] = {0.004f, 0.009f, 0.017f, 0.030f, 0.052f, 0.09f};  // m
  LanePoints start, position;
  Lanes clear, distance;
  for (int l = 0; l < kLanes; ++l) {
    start.x[l] = points.x[l] + 1e-3f * normal.x[l];
    start.y[l] = points.y[l] + 1e-3f * normal.y[l];
    start.z[l] = points.z[l] + 1e-3f * normal.z[l];
    clear[l] = 1.0f;
  }
  for (const float travel : kTravel) {
    for (int l = 0; l < kLanes; ++l) {
      position.x[l] = start.x[l] + travel * light.x;
      position.y[l] = start.y[l] + travel * light.y;
      position.z[l] = start.z[l] + travel * light.z;
    }
    signed_distance(surface, list, position, &distance);
    const float scale = sharpness / travel;
    for (int l = 0; l < kLanes; ++l) {
      const float c = distance[l] * scale;
      clear[l] = c < clear[l] ? c : clear[l];
    }
  }
  // From -1 (well inside) to 1 (clear), smoothly.
  for (int l = 0; l < kLanes; ++l) {
    const float c = clear[l] < -1.0f ? -1.0f : clear[l];
    clear[l] = 0.25f * (1.0f + c) * (1.0f + c) * (2.0f - c);
  }
  return clear;
}

}  // namespace pyhandpose::synthetic
