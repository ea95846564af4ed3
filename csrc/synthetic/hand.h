// The hand as an articulated body: proportions, pose, anatomical limits, forward kinematics.
//
// Hand frame of a right hand: origin at the wrist, x towards the thumb side (radial), y towards
// the fingers (distal), z out of the palm (palmar). It is right-handed: radial x distal = palmar.
// Angles are in radians, lengths in metres. A positive flexion turns y towards z.
#pragma once

#include <array>

#include "random.h"
#include "vec3.h"

namespace pyhandpose::synthetic {

inline constexpr int kNumJoints = 21;
inline constexpr int kNumFingers = 4;  // index, middle, ring, little; the thumb is on its own

// Lengths and radii of one person's hand, m.
struct Proportions {
  // Joint 1 (thumb CMC) and the four MCP joints in the hand frame.
  Vec3d thumb_cmc;
  std::array<Vec3d, kNumFingers> mcp;
  // Proximal, middle, distal (to the tip) lengths.
  std::array<std::array<double, 3>, kNumFingers> phalanx;
  std::array<double, 3> thumb_bone;  // metacarpal, proximal, distal
  // Radii of the flesh at MCP, PIP, DIP, tip; thumb: CMC, MCP, IP, tip.
  std::array<std::array<double, 4>, kNumFingers> radius;
  std::array<double, 4> thumb_radius;
  double size;       // of the whole hand, 1 = mean adult
  double thickness;  // of the flesh, 1 = mean
};

// Pose as one vector, so that poses can be mixed linearly.
enum PoseIndex : int {
  // finger f: kFinger + 4 f + {0 MCP flexion, 1 spread, 2 PIP flexion, 3 DIP flexion}.
  // Spread is positive away from the middle finger's axis (index and middle: radial).
  kFinger = 0,
  kThumbOpposition = 16,  // palmar abduction of the metacarpal
  kThumbSpread,           // its radial abduction, from the index metacarpal's direction
  kThumbMcp,
  kThumbIp,
  kWristFlexion,
  kWristDeviation,  // positive radial
  kPoseSize,
};
using Pose = std::array<double, kPoseSize>;

// Lowest and highest value of each angle.
struct Limits {
  Pose low, high;
};
Limits joint_limits();

// Frames of the bones and positions of the joints in the hand frame.
struct Skeleton {
  std::array<Vec3d, kNumJoints> joint;
  // Frame of the bone that ENDS at joint j: y along the bone, z its palmar (pad) side.
  std::array<Frame, kNumJoints> bone;
  Frame forearm;  // y from the elbow to the wrist
};

Proportions sample_proportions(Random& random);
Skeleton forward_kinematics(const Proportions& proportions, const Pose& pose);

// The pose with the limits and the couplings between joints enforced: fingers spread less when
// flexed at the MCP joint.
Pose apply_limits(const Pose& pose);

// A natural pose, free of gross self-penetration.
Pose sample_pose(const Proportions& proportions, Random& random);

// How deep, in m, bones of different fingers or of a finger and the palm sink into each other.
double self_penetration(const Proportions& proportions, const Pose& pose);

// Named poses, as used by sample_pose: "open", "fist", ... nullptr past the end.
const char* archetype_name(int index);
Pose archetype_pose(int index);

}  // namespace pyhandpose::synthetic
