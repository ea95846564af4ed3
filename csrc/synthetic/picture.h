// The picture while it is made: linear light, and how a camera turns it into bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "scene.h"

namespace pyhandpose::synthetic {

struct Picture {
  int size = 0;              // px, width and height
  std::vector<Vec3f> pixel;  // (size * size) linear RGB

  // `passes` times the 1-2-1 filter in x and y.
  void blur(int passes);

  // A soft shadow behind the hand: its mask (size * size), blurred and moved away from the light.
  void cast_shadow(const std::vector<uint8_t>& mask, const Vec3f& light);

  // Vignette, exposure, white balance, sRGB, contrast, noise and rounding to bytes (size,size,3).
  void develop(const Sensor& sensor, uint8_t* image) const;

 private:
  std::vector<Vec3f> scratch_;
  std::vector<int> sums_;
};

}  // namespace pyhandpose::synthetic
