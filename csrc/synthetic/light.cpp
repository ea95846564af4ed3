#include "light.h"

#include <algorithm>
#include <cmath>

namespace pyhandpose::synthetic {

Vec3f illuminate(const Lighting& light, const SurfacePoint& surface, const Vec3f& normal,
                 const Vec3f& view, float access, float lit) {
  const float facing = dot(normal, light.key_direction);
  const auto wrapped = [&](float wrap) { return std::max((facing + wrap) / (1.0f + wrap), 0.0f); };
  // Light that enters skin comes out a little further on, red light the furthest: it reaches round
  // the terminator, into shadows and into hollows.
  Vec3f diffuse, shadow{lit, lit, lit}, open{access, access, access};
  if (surface.is_skin) {
    diffuse = {wrapped(0.32f), wrapped(0.16f), wrapped(0.12f)};
    shadow.x = 0.18f + 0.82f * lit;
    open = {0.82f * access + 0.18f * std::sqrt(access), access * (0.7f + 0.3f * access),
            access * (0.6f + 0.4f * access)};
  } else {
    diffuse = Vec3f{1, 1, 1} * wrapped(0.05f);
  }
  const Vec3f around = lerp(light.ground, light.sky, 0.5f + 0.5f * dot(normal, light.up)) * open;

  const float aligned = std::max(dot(normal, normalize(light.key_direction + view)), 0.0f);
  const float p2 = aligned * aligned, p4 = p2 * p2, p8 = p4 * p4, p16 = p8 * p8;
  const float grazing = 1.0f - std::max(dot(normal, view), 0.0f);
  const float grazing3 = grazing * grazing * grazing;
  const float fresnel = 1.0f + 3.0f * grazing3 * grazing;
  const float highlight = surface.gloss * lit * fresnel * (0.35f * p8 + 0.65f * p16 * p16);
  const float rim = 0.35f * surface.gloss * grazing3 * access;
  return surface.albedo * (light.key * diffuse * shadow + around) + light.key * highlight +
         light.sky * rim;
}

}  // namespace pyhandpose::synthetic
