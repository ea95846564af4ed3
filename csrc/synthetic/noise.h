// Smooth value noise in [-1, 1] on integer lattices, from an integer hash.
#pragma once

#include <cmath>
#include <cstdint>

#include "random.h"

namespace pyhandpose::synthetic {

inline float lattice(uint32_t key, int32_t x, int32_t y, int32_t z) {
  uint32_t h = key ^ (static_cast<uint32_t>(x) * 0x8da6b343u) ^
               (static_cast<uint32_t>(y) * 0xd8163841u) ^ (static_cast<uint32_t>(z) * 0xcb1ab31fu);
  h = (h ^ (h >> 15)) * 0x2c1b3c6du;
  h = (h ^ (h >> 12)) * 0x297a2d39u;
  h ^= h >> 15;
  return static_cast<float>(h >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

inline float value_noise(uint32_t key, float x, float y, float z) {
  const float fx = std::floor(x), fy = std::floor(y), fz = std::floor(z);
  const int32_t ix = static_cast<int32_t>(fx), iy = static_cast<int32_t>(fy),
                iz = static_cast<int32_t>(fz);
  const auto fade = [](float t) { return t * t * (3.0f - 2.0f * t); };
  const float tx = fade(x - fx), ty = fade(y - fy), tz = fade(z - fz);
  const auto row = [&](int32_t j, int32_t k) {
    const float a = lattice(key, ix, j, k), b = lattice(key, ix + 1, j, k);
    return a + (b - a) * tx;
  };
  const auto plane = [&](int32_t k) {
    const float a = row(iy, k), b = row(iy + 1, k);
    return a + (b - a) * ty;
  };
  const float a = plane(iz), b = plane(iz + 1);
  return a + (b - a) * tz;
}

}  // namespace pyhandpose::synthetic
