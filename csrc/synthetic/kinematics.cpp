// Proportions and forward kinematics. Sources of the numbers: docs/synthetic.md.
#include "hand.h"

namespace pyhandpose::synthetic {
namespace {

constexpr double kMm = 1e-3;

// Mean adult, mm: proximal, middle and distal phalanx; the distal one includes the soft tissue up
// to the tip.
constexpr double kPhalanxMm[kNumFingers][3] = {
    {39.8, 22.4, 19.7}, {44.6, 26.3, 21.4}, {41.4, 25.7, 21.3}, {32.7, 18.1, 19.7}};
constexpr double kThumbMm[3] = {46.2, 31.6, 27.3};
constexpr double kMcpMm[kNumFingers][3] = {
    {25.0, 88.0, 0.5}, {4.0, 90.0, -2.5}, {-15.5, 83.5, -1.5}, {-33.0, 73.0, 3.0}};
constexpr double kThumbCmcMm[3] = {21.0, 21.0, 8.0};
constexpr double kRadiusMm[kNumFingers][4] = {
    {10.6, 9.2, 7.8, 6.6}, {10.8, 9.5, 8.1, 6.8}, {10.3, 9.0, 7.6, 6.5}, {9.4, 7.9, 6.8, 5.8}};
constexpr double kThumbRadiusMm[4] = {13.0, 11.0, 9.9, 8.0};

// Resting direction of each finger in the palm's plane, towards the thumb, degrees.
constexpr double kFanDeg[kNumFingers] = {1.5, 0.0, -3.0, -7.0};
// Roll of each finger's flexion axis: flexed fingers converge on the base of the thumb.
constexpr double kRollDeg[kNumFingers] = {-4.0, 2.0, 8.0, 14.0};

constexpr double radians(double degrees) { return degrees * (kPi / 180); }

}  // namespace

Proportions sample_proportions(Random& random) {
  Proportions p;
  p.size = clamp(1.0 + 0.075 * random.normal(), 0.8, 1.2);
  p.thickness = clamp(1.0 + 0.09 * random.normal(), 0.8, 1.25);
  const double finger_length = 1.0 + 0.04 * random.normal();
  const double palm_width = 1.0 + 0.05 * random.normal();
  const double palm_length = 1.0 + 0.03 * random.normal();
  const double taper = 1.0 + 0.05 * random.normal();  // radius at the tip over that at the base
  const auto in_palm = [&](const double* mm) {
    return Vec3d{mm[0] * palm_width, mm[1] * palm_length, mm[2]} * (kMm * p.size);
  };
  p.thumb_cmc = in_palm(kThumbCmcMm);
  for (int f = 0; f < kNumFingers; ++f) {
    p.mcp[f] = in_palm(kMcpMm[f]);
    const double this_finger = 1.0 + 0.025 * random.normal();
    for (int k = 0; k < 3; ++k) {
      p.phalanx[f][k] = kPhalanxMm[f][k] * kMm * p.size * finger_length * this_finger;
    }
  }
  const double thumb_length = finger_length * (1.0 + 0.03 * random.normal());
  for (int k = 0; k < 3; ++k) p.thumb_bone[k] = kThumbMm[k] * kMm * p.size * thumb_length;
  for (int k = 0; k < 4; ++k) {
    const double scale = kMm * p.size * p.thickness * (1.0 + (taper - 1.0) * k / 3);
    for (int f = 0; f < kNumFingers; ++f) p.radius[f][k] = kRadiusMm[f][k] * scale;
    p.thumb_radius[k] = kThumbRadiusMm[k] * scale;
  }
  return p;
}

Skeleton forward_kinematics(const Proportions& p, const Pose& pose) {
  Skeleton s;
  s.joint[0] = {0, 0, 0};
  s.bone[0] = Frame{};

  // Thumb. The metacarpal leaves the palm's plane by the opposition and turns about its own axis
  // with it, so that an opposed thumb shows its pad to the fingers.
  const double opposition = pose[kThumbOpposition];
  double sine, cosine;
  sin_cos(pose[kThumbSpread], &sine, &cosine);
  const Vec3d along{sine, cosine, 0}, ulnar{-cosine, sine, 0};
  double roll_sine, roll_cosine;
  sin_cos(radians(48.0) + 0.45 * opposition, &roll_sine, &roll_cosine);
  const Vec3d pad = Vec3d{0, 0, 1} * roll_cosine + ulnar * roll_sine;
  Frame frame = rotation_y(-opposition) * Frame{cross(along, pad), along, pad};
  s.joint[1] = p.thumb_cmc;
  s.bone[1] = frame;
  const double thumb_flexion[3] = {0.0, pose[kThumbMcp], pose[kThumbIp]};
  for (int k = 0; k < 3; ++k) {
    frame = frame * rotation_x(thumb_flexion[k]);
    s.joint[2 + k] = s.joint[1 + k] + frame.y * p.thumb_bone[k];
    s.bone[2 + k] = frame;
  }

  for (int f = 0; f < kNumFingers; ++f) {
    const double* angle = &pose[kFinger + 4 * f];
    const int base = 5 + 4 * f;
    // z turns y towards -x, so a turn towards the thumb is negative.
    const double towards_thumb = radians(kFanDeg[f]) + (f < 2 ? angle[1] : -angle[1]);
    frame = rotation_z(-towards_thumb) * rotation_y(radians(kRollDeg[f])) * rotation_x(angle[0]);
    s.joint[base] = p.mcp[f];
    s.bone[base] = Frame{};
    for (int k = 0; k < 3; ++k) {
      if (k > 0) frame = frame * rotation_x(angle[1 + k]);
      s.joint[base + 1 + k] = s.joint[base + k] + frame.y * p.phalanx[f][k];
      s.bone[base + 1 + k] = frame;
    }
  }

  // The forearm is the wrist's parent: the hand flexes by +a when the forearm turns by -a.
  s.forearm = rotation_z(pose[kWristDeviation]) * rotation_x(-pose[kWristFlexion]);
  return s;
}

}  // namespace pyhandpose::synthetic
