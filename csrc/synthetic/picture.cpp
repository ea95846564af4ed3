#include "picture.h"

#include <algorithm>
#include <cmath>

#include "random.h"

namespace pyhandpose::synthetic {
namespace {

// sRGB from linear light by three square roots, within 0.006 of the standard's curve.
float srgb(float linear) {
  const float a = std::sqrt(clamp(linear, 0.0f, 1.0f)), b = std::sqrt(a), c = std::sqrt(b);
  return 0.585122381f * a + 0.783140355f * b - 0.368262736f * c;
}

}  // namespace

void Picture::blur(int passes) {
  scratch_.resize(pixel.size());
  const auto filter = [&](const std::vector<Vec3f>& from, std::vector<Vec3f>* to, int dx, int dy) {
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        const Vec3f& before = from[std::max(y - dy, 0) * size + std::max(x - dx, 0)];
        const Vec3f& after = from[std::min(y + dy, size - 1) * size + std::min(x + dx, size - 1)];
        (*to)[y * size + x] = (before + after) * 0.25f + from[y * size + x] * 0.5f;
      }
    }
  };
  for (int i = 0; i < passes; ++i) {
    filter(pixel, &scratch_, 1, 0);
    filter(scratch_, &pixel, 0, 1);
  }
}

void Picture::cast_shadow(const std::vector<uint8_t>& mask, const Vec3f& light) {
  constexpr float kDarkest = 0.55f, kShift = 0.10f;
  const int dx = static_cast<int>(std::floor(-light.x * kShift * size + 0.5f));
  const int dy = static_cast<int>(std::floor(-light.y * kShift * size + 0.5f));
  const int stride = size + 1;
  sums_.assign(stride * stride, 0);  // summed areas: a box filter of any width at once
  for (int y = 0; y < size; ++y) {
    int row = 0;
    for (int x = 0; x < size; ++x) {
      row += mask[y * size + x];
      sums_[(y + 1) * stride + x + 1] = sums_[y * stride + x + 1] + row;
    }
  }
  const auto cover = [&](int x, int y, int radius) {
    const int x0 = clamp(x - radius, 0, size), x1 = clamp(x + radius + 1, 0, size);
    const int y0 = clamp(y - radius, 0, size), y1 = clamp(y + radius + 1, 0, size);
    const int inside = sums_[y1 * stride + x1] - sums_[y0 * stride + x1] - sums_[y1 * stride + x0] +
                       sums_[y0 * stride + x0];
    return static_cast<float>(inside) / static_cast<float>((2 * radius + 1) * (2 * radius + 1));
  };
  const int wide = std::max(1, size / 12), narrow = std::max(1, size / 36);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const float shade = 0.5f * (cover(x - dx, y - dy, wide) + cover(x - dx, y - dy, narrow));
      pixel[y * size + x] = pixel[y * size + x] * (1.0f - kDarkest * shade);
    }
  }
}

void Picture::develop(const Sensor& s, uint8_t* image) const {
  const auto finish = [&](float linear, uint64_t random) {
    float v = srgb(linear);
    v += s.contrast * (v - 0.5f) * 4.0f * v * (1.0f - v);
    // Sum of four 16-bit uniforms: close to normal.
    const int sum = static_cast<int>((random & 0xffff) + (random >> 16 & 0xffff) +
                                     (random >> 32 & 0xffff) + (random >> 48)) -
                    2 * 0xffff;
    v += s.noise * static_cast<float>(sum) * (1.7320508f / 65536.0f);
    return static_cast<uint8_t>(clamp(v, 0.0f, 1.0f) * 255.0f + 0.5f);
  };
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const int at = y * size + x;
      const float u = (x + 0.5f) / size - 0.5f, v = (y + 0.5f) / size - 0.5f;
      const float gain = s.exposure * (1.0f - s.vignette * 2.0f * (u * u + v * v));
      const Vec3f c = pixel[at] * s.white_balance * gain;
      const uint64_t key = s.noise_key + static_cast<uint64_t>(at) * 3;
      image[3 * at + 0] = finish(c.x, mix64(mix64(key)));
      image[3 * at + 1] = finish(c.y, mix64(mix64(key + 1)));
      image[3 * at + 2] = finish(c.z, mix64(mix64(key + 2)));
    }
  }
}

}  // namespace pyhandpose::synthetic
