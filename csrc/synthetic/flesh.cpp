// Which rounded cones make a hand, and how far they may sink into each other.
#include <algorithm>

#include "surface.h"

namespace pyhandpose::synthetic {
namespace {

constexpr double kMm = 1e-3;

// Collects cones; lengths are given in mm of a mean hand.
class Builder {
 public:
  Builder(const Proportions& p, const Skeleton& s) : p_(p), s_(s), mm_(kMm * p.size) {}

  void metacarpals(Surface* out) const {
    constexpr double kCarpal[kNumFingers][2] = {{13, 16}, {4, 12}, {-6, 12}, {-15, 15}};
    for (int f = 0; f < kNumFingers; ++f) {
      const Vec3d carpal = Vec3d{kCarpal[f][0], kCarpal[f][1], 1.5} * mm_;
      const Vec3d knuckle = p_.mcp[f] + Vec3d{0, 0, 1.0} * mm_;
      palm(out, carpal, knuckle, 12.5, f == 3 ? 10.2 : 11.0, f == 0 ? 0.1 : 9.0);
    }
  }

  void eminences(Surface* out) const {
    const Vec3d cmc = s_.joint[1], mcp = s_.joint[2];
    const double flesh = p_.thickness;
    palm(out, cmc, mcp, 12.0, p_.thumb_radius[1] / (mm_ * flesh), 9.0);
    // Thenar: the muscle between the middle of the palm's heel and the thumb's MCP joint.
    const Vec3d heel = Vec3d{8, 20, 7} * mm_;
    palm(out, heel, lerp(cmc, mcp, 0.72) + s_.bone[2].z * (2.0 * mm_), 12.5, 10.5, 9.0);
    // Hypothenar, on the little finger's side.
    palm(out, Vec3d{-18, 17, 5.5} * mm_, lerp(Vec3d{-20, 20, 5} * mm_, p_.mcp[3], 0.72), 11.5, 10.0,
         9.0);
    // The skin between thumb and index metacarpal.
    palm(out, lerp(cmc, mcp, 0.62), lerp(Vec3d{13, 16, 1.5} * mm_, p_.mcp[0], 0.62), 6.5, 7.5,
         14.0);
    palm(out, lerp(cmc, mcp, 0.25), lerp(Vec3d{13, 16, 1.5} * mm_, p_.mcp[0], 0.35), 9.0, 9.0,
         14.0);
  }

  // Skin between neighbouring fingers; it follows the less bent of the two.
  void webs(Surface* out) const {
    for (int f = 0; f + 1 < kNumFingers; ++f) {
      const int a = 5 + 4 * f, b = a + 4;
      const double agreement = clamp(dot(s_.bone[a + 1].y, s_.bone[b + 1].y), 0.0, 1.0);
      const double along = 0.10 + 0.24 * agreement * agreement;
      const Vec3d left = lerp(s_.joint[a], s_.joint[a + 1], along);
      const Vec3d right = lerp(s_.joint[b], s_.joint[b + 1], along);
      palm(out, left + s_.bone[a + 1].z * mm_, right + s_.bone[b + 1].z * mm_, 6.6, 6.6, 6.0);
    }
  }

  void forearm(Surface* out, double length) const {
    const double half_wrist = 11.0, half_elbow = 13.0;
    for (const double side : {-1.0, 1.0}) {
      const Vec3d wrist = s_.forearm * (Vec3d{side * half_wrist, 2.0, 0.0} * mm_);
      const Vec3d elbow = s_.forearm * (Vec3d{side * half_elbow * mm_, -length, 0.0});
      out->add(make_cone(wrist, elbow, 16.5 * mm_ * p_.thickness,
                         (16.5 + 42.0 * length) * mm_ * p_.thickness, 12.0 * mm_, kPalm,
                         Tissue::kForearm, false, s_.forearm.z));
    }
  }

  void finger(Surface* out, int f) const {
    const int base = 5 + 4 * f;
    const auto& r = p_.radius[f];
    digit(out, static_cast<Part>(kIndex + f), base, 3, r.data());
  }

  void thumb(Surface* out) const { digit(out, kThumb, 2, 2, p_.thumb_radius.data() + 1); }

 private:
  // Phalanges of one digit whose first joint is `base`.
  void digit(Surface* out, Part part, int base, int count, const double* radius) const {
    for (int k = 0; k < count; ++k) {
      const bool tip = k == count - 1;
      const Frame& bone = s_.bone[base + k + 1];
      Vec3d end = s_.joint[base + k + 1];
      // The label of a tip lies under the skin, not on it.
      if (tip) end = end + bone.y * (-0.62 * radius[k + 1]) + bone.z * (0.5 * mm_);
      out->add(make_cone(s_.joint[base + k], end, radius[k], radius[k + 1],
                         (k == 0 ? 6.0 : 1.6) * mm_, part, tip ? Tissue::kTip : Tissue::kPhalanx,
                         k == 0, bone.z));
    }
  }

  void palm(Surface* out, const Vec3d& start, const Vec3d& end, double start_radius,
            double end_radius, double blend) const {
    const double flesh = mm_ * p_.thickness;
    out->add(make_cone(start, end, start_radius * flesh, end_radius * flesh, blend * mm_, kPalm,
                       Tissue::kPalmar, false, {0, 0, 1}));
  }

  const Proportions& p_;
  const Skeleton& s_;
  double mm_;
};

// Does it mean anything that these two cones overlap?
bool must_not_overlap(const Cone& a, const Cone& b) {
  if (a.part == b.part || a.part == kPalm) return false;
  if (b.part == kPalm) return !a.at_base && b.tissue == Tissue::kPalmar;
  return !(a.at_base && b.at_base);
}

}  // namespace

Surface build_surface(const Proportions& proportions, const Skeleton& skeleton,
                      double forearm_length) {
  const Builder builder(proportions, skeleton);
  Surface surface;
  builder.metacarpals(&surface);
  builder.eminences(&surface);
  builder.webs(&surface);
  builder.forearm(&surface, forearm_length);
  for (int f = 0; f < kNumFingers; ++f) builder.finger(&surface, f);
  builder.thumb(&surface);
  return surface;
}

double self_penetration(const Proportions& proportions, const Pose& pose) {
  const Surface surface = build_surface(proportions, forward_kinematics(proportions, pose), 0.1);
  float deepest = 0.0f;
  for (int i = 0; i < surface.count; ++i) {
    const Cone& a = surface.cone[i];
    for (int j = 0; j < surface.count; ++j) {
      const Cone& b = surface.cone[j];
      if (!must_not_overlap(a, b)) continue;
      for (const float t : {0.25f, 0.6f, 1.0f}) {
        const float h = t * a.length;
        const float gap = cone_distance(b, a.start + a.axis * h, nullptr);
        deepest = std::max(deepest, (a.radius - a.slope * h) - gap);
      }
    }
  }
  return deepest;
}

}  // namespace pyhandpose::synthetic
