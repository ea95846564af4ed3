// Colour of the hand's surface: palm and back, creases, knuckles, nails, sleeve.
#pragma once

#include "light.h"
#include "scene.h"

namespace pyhandpose::synthetic {

// Precomputed places of the features of one hand, in camera axes.
class SkinPainter {
 public:
  explicit SkinPainter(const Scene& scene);

  // `list` holds the cones near the point.
  SurfacePoint paint(const ConeList& list, const Vec3f& point, const Vec3f& normal) const;

 private:
  struct Fold {  // of a joint: the plane across the finger in which the skin folds
    Vec3f center, axis, palmar;
    float radius;
    float extended;  // 1 = straight, 0 = bent by 60 degrees or more: the knuckle's skin is taut
    bool dorsal;     // wrinkles on the back too
  };

  float fold_shade(Part part, const Vec3f& point, const Vec3f& normal) const;
  float palm_lines(const Vec3f& in_hand, float palmar) const;
  bool nail(const Cone& tip, const Vec3f& point, const Vec3f& normal, SurfacePoint* out) const;

  const Scene& scene_;
  std::array<std::array<Fold, 3>, kThumb + 1> fold_{};
  std::array<int, kThumb + 1> folds_{};
  Vec3f hand_x_, hand_y_, hand_z_, wrist_, forearm_;
  float inverse_mm_;  // m to mm of a mean hand
};

}  // namespace pyhandpose::synthetic
