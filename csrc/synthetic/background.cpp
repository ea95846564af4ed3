#include "background.h"

#include <algorithm>
#include <cmath>

#include "noise.h"
#include "random.h"

namespace pyhandpose::synthetic {
namespace {

// Colours that belong together: most leaves share a tint, some stray far from it. Linear RGB.
class Palette {
 public:
  explicit Palette(Random& random)
      : tint_{channel(random, 0.45), channel(random, 0.3), channel(random, 0.5)},
        variety_(random.uniform(0.1, 0.45)),
        brightest_(random.uniform(0.25, 0.85)) {}

  Vec3f draw(Random& random) const {
    const double value = random.uniform();
    const double light = 0.015 + brightest_ * value * value;
    const double stray = random.chance(0.12) ? 0.85 : variety_;
    const float r = channel(random, stray), g = channel(random, stray), b = channel(random, stray);
    return Vec3f{r, g, b} * tint_ * static_cast<float>(light);
  }

 private:
  static float channel(Random& random, double spread) {
    return static_cast<float>(1 + spread * (2 * random.uniform() - 1));
  }

  Vec3f tint_;
  double variety_, brightest_;
};

struct Gradient {
  Vec3f start, end;
  float dir_x, dir_y;  // of the change from start to end across the picture
  bool radial;

  Vec3f at(float u, float v) const {  // u, v in [-0.5, 0.5]
    const float t = radial ? 2.0f * (u * u + v * v) : 0.5f + u * dir_x + v * dir_y;
    return lerp(start, end, clamp(t, 0.0f, 1.0f));
  }
};

Gradient make_gradient(Random& random, const Vec3f& start, const Vec3f& end, bool radial) {
  double sine, cosine;
  sin_cos(2 * kPi * random.uniform(), &sine, &cosine);
  return {start, end, static_cast<float>(cosine), static_cast<float>(sine), radial};
}

void draw_gradient(Random& random, const Gradient& gradient, float grain, int size,
                   std::vector<Vec3f>* pixels) {
  const uint32_t key = static_cast<uint32_t>(random.bits());
  const float scale = static_cast<float>(random.uniform(3.0, 9.0));
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const float u = (x + 0.5f) / size - 0.5f, v = (y + 0.5f) / size - 0.5f;
      float gain = 1.0f;
      if (grain > 0.0f) {
        gain += grain * value_noise(key, u * scale, v * scale, 0.5f) +
                0.5f * grain * value_noise(key, u * 4.1f * scale, v * 4.1f * scale, 7.5f);
      }
      (*pixels)[y * size + x] = gradient.at(u, v) * gain;
    }
  }
}

void draw_stripes(Random& random, const Palette& palette, int size, std::vector<Vec3f>* pixels) {
  const Vec3f a = palette.draw(random), b = palette.draw(random);
  double sine, cosine;
  sin_cos(kPi * random.uniform(), &sine, &cosine);
  const float cx = static_cast<float>(cosine), cy = static_cast<float>(sine);
  const float frequency = static_cast<float>(random.uniform(4.0, 16.0));
  const uint32_t key = static_cast<uint32_t>(random.bits());
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const float u = (x + 0.5f) / size - 0.5f, v = (y + 0.5f) / size - 0.5f;
      const float across = (u * cx + v * cy) * frequency, along = (v * cx - u * cy) * frequency;
      // Planks: each stripe has its own tone and a grain that runs along it.
      const float plank = std::floor(across);
      const float tone = 0.5f + 0.35f * lattice(key, static_cast<int32_t>(plank), 0, 0) +
                         0.25f * value_noise(key, across * 6.0f, along * 0.6f, plank);
      const float seam = across - plank < 0.06f ? 0.5f : 1.0f;
      (*pixels)[y * size + x] = lerp(a, b, clamp(tone, 0.0f, 1.0f)) * seam;
    }
  }
}

// One leaf: an ellipse or a rectangle with a shade that changes across it.
void draw_leaf(Random& random, const Palette& palette, double radius_px, int size,
               std::vector<Vec3f>* pixels) {
  const double cx = random.uniform(-0.1, 1.1) * size, cy = random.uniform(-0.1, 1.1) * size;
  double sine, cosine;
  sin_cos(2 * kPi * random.uniform(), &sine, &cosine);
  const double aspect = random.uniform(0.35, 1.0);
  const bool rectangle = random.chance(0.45);
  const Vec3f color = palette.draw(random);
  const float slope = static_cast<float>(random.uniform(0.0, 0.45));
  const float pattern = random.chance(0.25) ? static_cast<float>(random.uniform(0.1, 0.4)) : 0.0f;
  const double reach = rectangle ? radius_px * 1.4143 : radius_px;
  const int x0 = std::max(0, static_cast<int>(std::floor(cx - reach)));
  const int x1 = std::min(size - 1, static_cast<int>(std::floor(cx + reach)));
  const int y0 = std::max(0, static_cast<int>(std::floor(cy - reach)));
  const int y1 = std::min(size - 1, static_cast<int>(std::floor(cy + reach)));
  const double inverse = 1.0 / radius_px;
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      const double dx = (x - cx) * inverse, dy = (y - cy) * inverse;
      const double a = dx * cosine + dy * sine, b = (dy * cosine - dx * sine) / aspect;
      const bool inside = rectangle ? a < 1 && a > -1 && b < 1 && b > -1 : a * a + b * b < 1;
      if (!inside) continue;
      const int band = static_cast<int>(std::floor(static_cast<float>(a) * 4.0f));
      const float gain = 1.0f + slope * static_cast<float>(b) + (band & 1 ? pattern : 0.0f);
      (*pixels)[y * size + x] = color * gain;
    }
  }
}

// From the largest to the smallest, so that small leaves lie on top.
void draw_dead_leaves(Random& random, const Palette& palette, int size,
                      std::vector<Vec3f>* pixels) {
  constexpr int kLeaves = 130;
  const double smallest = random.uniform(0.03, 0.12), largest = random.uniform(0.4, 0.8);
  const double ratio = (smallest / largest) * (smallest / largest);
  std::vector<double> radius(kLeaves);
  for (double& r : radius) {  // density proportional to r^-3
    r = smallest / std::sqrt(1 - random.uniform() * (1 - ratio)) * size;
  }
  std::sort(radius.begin(), radius.end(), [](double a, double b) { return a > b; });
  for (const double r : radius) draw_leaf(random, palette, r, size, pixels);
}

}  // namespace

void draw_background(uint64_t seed, uint64_t index, Look look, int size,
                     std::vector<Vec3f>* pixels) {
  pixels->resize(size * size);
  Random random(seed, index, Stream::kBackground);
  if (look == Look::kStudio) {
    // Paper backdrops: grey, blue or green, seldom bright.
    const float value = static_cast<float>(0.05 + 0.6 * random.uniform() * random.uniform());
    const auto tint = [&] { return static_cast<float>(1 + 0.30 * (2 * random.uniform() - 1)); };
    const float r = tint(), g = tint(), b = tint();
    const Vec3f paper = Vec3f{r, g, b} * value;
    const float falloff = static_cast<float>(random.uniform(0.45, 0.85));
    draw_gradient(random, make_gradient(random, paper * 1.25f, paper * falloff, random.chance(0.5)),
                  0.02f, size, pixels);
    return;
  }
  const double kind = random.uniform();
  const Palette palette(random);
  const Vec3f a = palette.draw(random), b = palette.draw(random);
  if (kind < 0.22) {
    draw_gradient(random, make_gradient(random, a, b, random.chance(0.3)),
                  static_cast<float>(random.uniform(0.1, 0.5)), size, pixels);
  } else if (kind < 0.36) {
    draw_stripes(random, palette, size, pixels);
  } else {
    draw_gradient(random, make_gradient(random, a, b, false), 0.0f, size, pixels);
    draw_dead_leaves(random, palette, size, pixels);
  }
}

}  // namespace pyhandpose::synthetic
