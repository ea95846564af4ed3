#include "skin.h"

#include <algorithm>
#include <cmath>

#include "noise.h"

namespace pyhandpose::synthetic {
namespace {

float size_of(float a) { return a < 0.0f ? -a : a; }

// 1 on a line, 0 beyond `width` from it.
float line(float distance, float width) {
  return 1.0f - smoothstep(0.25f * width, width, size_of(distance));
}

}  // namespace

SkinPainter::SkinPainter(const Scene& scene)
    : scene_(scene),
      hand_x_(to_float(scene.rotation.x)),
      hand_y_(to_float(scene.rotation.y)),
      hand_z_(to_float(scene.rotation.z)),
      wrist_(to_float(scene.translation)),
      forearm_(to_float(scene.rotation * scene.skeleton.forearm.y)),
      inverse_mm_(static_cast<float>(1e3 / scene.proportions.size)) {
  const Skeleton& s = scene.skeleton;
  for (int part = kIndex; part <= kThumb; ++part) {
    const bool thumb = part == kThumb;
    const int base = thumb ? 2 : 5 + 4 * (part - kIndex);
    const auto& radius =
        thumb ? scene.proportions.thumb_radius : scene.proportions.radius[part - kIndex];
    const int bends = thumb ? 1 : 2;
    const auto add = [&](const Vec3d& center, const Vec3d& axis, const Vec3d& palmar, double r,
                         double extended, bool dorsal) {
      fold_[part][folds_[part]++] = {to_float(scene.rotation * center + scene.translation),
                                     to_float(scene.rotation * axis),
                                     to_float(scene.rotation * palmar),
                                     static_cast<float>(r),
                                     static_cast<float>(extended),
                                     dorsal};
    };
    // Where the finger leaves the palm.
    const Frame& first = s.bone[base + 1];
    add(lerp(s.joint[base], s.joint[base + 1], thumb ? 0.1 : 0.45), first.y, first.z,
        radius[thumb ? 1 : 0], 1.0, false);
    for (int k = 1; k <= bends; ++k) {
      const Frame &before = s.bone[base + k], &after = s.bone[base + k + 1];
      const double straight = dot(before.y, after.y);
      add(s.joint[base + k], normalize(before.y + after.y), normalize(before.z + after.z),
          radius[(thumb ? 1 : 0) + k], smoothstep(0.5, 0.95, straight), true);
    }
  }
}

// How much darker the skin's folds make this point of a finger, 0 to 1.
float SkinPainter::fold_shade(Part part, const Vec3f& point, const Vec3f& normal) const {
  float shade = 0.0f;
  for (int i = 0; i < folds_[part]; ++i) {
    const Fold& f = fold_[part][i];
    const Vec3f offset = point - f.center;
    const float along = dot(offset, f.axis) * inverse_mm_;
    if (size_of(along) > 6.0f || dot(offset, offset) > 4.0f * f.radius * f.radius) continue;
    const float palmar = dot(normal, f.palmar);
    const float inside = smoothstep(-0.1f, 0.45f, palmar);
    shade = std::max(shade, inside * std::max(line(along, 1.3f), 0.5f * line(along - 2.6f, 1.1f)));
    if (f.dorsal) {
      const float back = smoothstep(0.25f, 0.75f, -palmar) * f.extended;
      const float wrinkles =
          std::max(line(along, 1.0f), std::max(line(along - 2.4f, 0.9f), line(along + 2.4f, 0.9f)));
      shade = std::max(shade, 0.55f * back * wrinkles);
    }
  }
  return shade;
}

// The three main lines of the palm; arguments in mm of a mean hand.
float SkinPainter::palm_lines(const Vec3f& p, float palmar) const {
  const float facing = smoothstep(0.35f, 0.8f, palmar);
  if (facing <= 0.0f || p.z < 2.0f) return 0.0f;
  float shade = 0.0f;
  if (p.x > -42.0f && p.x < 14.0f) {  // heart
    const float u = (p.x + 42.0f) / 56.0f;
    shade = std::max(shade, line(p.y - (56.0f + 8.0f * u + 14.0f * u * u), 1.5f));
  }
  if (p.x > -30.0f && p.x < 32.0f) {  // head
    const float u = (32.0f - p.x) / 62.0f;
    shade = std::max(shade, 0.8f * line(p.y - (64.0f - 6.0f * u - 20.0f * u * u), 1.5f));
  }
  const float dx = p.x - 38.0f, dy = p.y - 27.0f;  // life, around the thenar
  if (dx < 0.0f && p.y > 4.0f && p.y < 66.0f) {
    shade = std::max(shade, 0.9f * line(std::sqrt(dx * dx * 1.25f + dy * dy) - 37.0f, 1.6f));
  }
  return facing * shade;
}

bool SkinPainter::nail(const Cone& tip, const Vec3f& point, const Vec3f& normal,
                       SurfacePoint* out) const {
  const Vec3f offset = point - tip.start;
  const float radius = tip.radius - tip.slope * tip.length;
  const float from_end = tip.length + radius - dot(offset, tip.axis);
  const Vec3f side_axis = cross(tip.axis, tip.palmar);
  const float side = dot(offset, side_axis) / (0.80f * radius);
  const float u = from_end / (1.9f * radius);  // 0 at the free edge, 1 at the root
  if (u < 0.06f || u > 1.0f || dot(normal, tip.palmar) > -0.1f) return false;
  // A rounded rectangle in (side, u).
  const float v = (u - 0.53f) / 0.47f;
  const float outline = side * side * side * side + v * v * v * v;
  if (outline > 1.0f) return false;
  const float edge = smoothstep(0.72f, 1.0f, outline);
  Vec3f color = scene_.skin.nail;
  if (u < 0.17f) color = lerp(color, Vec3f{0.80f, 0.76f, 0.68f}, 0.3f);
  if (u > 0.82f && size_of(side) < 0.6f) color = lerp(color, Vec3f{0.85f, 0.75f, 0.7f}, 0.3f);
  out->albedo = lerp(color, scene_.skin.dorsal * scene_.skin.crease, 0.5f * edge);
  out->gloss = 0.45f;
  out->is_skin = true;
  return true;
}

SurfacePoint SkinPainter::paint(const ConeList& list, const Vec3f& point,
                                const Vec3f& normal) const {
  const Skin& skin = scene_.skin;
  const Vec3f from_wrist = point - wrist_;
  const float past_wrist = -dot(from_wrist, forearm_);
  const Cone* nearest = &scene_.surface.cone[list.index[0]];
  float least = 1e3f;
  // The pad side changes smoothly from one cone to the next: weights fall off with distance.
  Vec3f pad{0, 0, 0};
  for (int i = 0; i < list.count; ++i) {
    const Cone& c = scene_.surface.cone[list.index[i]];
    const float d = cone_distance(c, point, nullptr);
    const float weight = 1.0f / (1.0f + 9e4f * (d > 0.0f ? d * d : 0.0f));
    pad = pad + c.palmar * (weight * weight);
    if (d < least) {
      least = d;
      nearest = &c;
    }
  }
  if (nearest->tissue == Tissue::kForearm && past_wrist > skin.sleeve_start) {
    const float weave = value_noise(skin.noise_key, dot(from_wrist, hand_x_) * 120.0f,
                                    past_wrist * 120.0f, dot(from_wrist, hand_z_) * 120.0f);
    const float hem = past_wrist < skin.sleeve_start + 0.008f ? 0.75f : 1.0f;
    return {skin.sleeve * ((1.0f + 0.18f * weave) * hem), 0.02f, false};
  }

  SurfacePoint out{};
  if (nearest->tissue == Tissue::kTip && nail(*nearest, point, normal, &out)) return out;

  const float palmar = dot(normal, normalize(pad));
  out.albedo = lerp(skin.dorsal, skin.palmar, smoothstep(-0.35f, 0.45f, palmar));
  out.gloss = skin.gloss;
  out.is_skin = true;
  const Vec3f in_hand =
      Vec3f{dot(from_wrist, hand_x_), dot(from_wrist, hand_y_), dot(from_wrist, hand_z_)} *
      inverse_mm_;
  const float blotch =
      value_noise(skin.noise_key, in_hand.x * 0.09f, in_hand.y * 0.09f, in_hand.z * 0.09f) +
      0.5f * value_noise(skin.noise_key, in_hand.x * 0.4f, in_hand.y * 0.4f, in_hand.z * 0.4f);
  const float m = skin.mottle * blotch;
  out.albedo = out.albedo * Vec3f{1.0f + 0.5f * m, 1.0f + m, 1.0f + 1.1f * m};

  float shade = 0.0f;
  if (nearest->part == kPalm) {
    if (nearest->tissue == Tissue::kPalmar) shade = palm_lines(in_hand, palmar);
    // Two creases across the inner wrist.
    const float inner = smoothstep(0.1f, 0.6f, palmar);
    shade = std::max(
        shade, 0.7f * inner * std::max(line(in_hand.y + 1.0f, 1.2f), line(in_hand.y + 6.0f, 1.0f)));
  } else {
    shade = fold_shade(nearest->part, point, normal);
    // Blood shows through at the fingertips and over the knuckles.
    if (nearest->tissue == Tissue::kTip) out.albedo = out.albedo * Vec3f{1.03f, 0.93f, 0.93f};
  }
  const Vec3f fold = lerp(Vec3f{1, 1, 1}, skin.crease, skin.crease_strength * shade);
  out.albedo = out.albedo * fold;
  return out;
}

}  // namespace pyhandpose::synthetic
