// Natural poses: mixtures of archetypes with correlated noise, inside the anatomical limits.
#include <algorithm>

#include "hand.h"

namespace pyhandpose::synthetic {
namespace {

constexpr double kDipPerPip = 2.0 / 3.0;  // the distal joint follows the middle one

constexpr double radians(double degrees) { return degrees * (kPi / 180); }

// Degrees. Fingers: MCP flexion, spread, PIP flexion; thumb: opposition, spread, MCP, IP.
struct Archetype {
  const char* name;
  double weight;
  double finger[kNumFingers][3];
  double thumb[4];
};

constexpr Archetype kArchetypes[] = {
    {"open", 1.5, {{3, 2, 6}, {3, 0, 6}, {3, 2, 6}, {3, 4, 6}}, {18, 42, 6, 8}},
    {"spread", 1.2, {{-4, 13, 4}, {-4, 0, 4}, {-4, 10, 4}, {-4, 17, 4}}, {14, 58, 0, -4}},
    {"relaxed", 2.0, {{22, 3, 26}, {27, 0, 32}, {31, 2, 35}, {33, 5, 34}}, {28, 34, 14, 20}},
    {"fist", 1.2, {{74, 0, 98}, {78, 0, 100}, {80, 0, 100}, {82, 0, 96}}, {36, 51, 37, 52}},
    {"point", 1.2, {{4, 2, 6}, {74, 0, 98}, {78, 0, 99}, {80, 0, 95}}, {32, 41, 47, 52}},
    {"victory", 1.0, {{3, 11, 5}, {2, -9, 5}, {76, 0, 98}, {78, 0, 94}}, {25, 29, 54, 59}},
    {"pinch", 1.3, {{22, 0, 72}, {38, 0, 40}, {36, 2, 36}, {34, 6, 32}}, {50, 43, 26, 31}},
    {"ok", 1.0, {{23, 0, 73}, {14, 0, 16}, {8, 4, 12}, {2, 12, 10}}, {50, 45, 28, 34}},
    {"thumbs_up", 0.9, {{72, 0, 98}, {76, 0, 100}, {78, 0, 100}, {80, 0, 95}}, {4, 52, -6, -8}},
    {"claw", 0.9, {{-4, 5, 66}, {-4, 0, 70}, {-4, 4, 68}, {-4, 8, 64}}, {30, 42, 22, 36}},
    {"grasp", 1.6, {{42, 4, 44}, {45, 0, 46}, {46, 3, 46}, {46, 8, 42}}, {42, 36, 14, 22}},
    {"shaka", 0.7, {{70, 0, 96}, {76, 0, 99}, {76, 0, 96}, {4, 14, 8}}, {8, 58, -4, -6}},
    {"gun", 0.8, {{2, 3, 4}, {72, 0, 96}, {77, 0, 99}, {79, 0, 94}}, {8, 54, 0, 0}},
    {"three", 0.8, {{2, 8, 5}, {2, -4, 5}, {70, 0, 94}, {76, 0, 92}}, {10, 56, 0, -2}},
    {"four", 0.7, {{2, 8, 5}, {2, 0, 5}, {2, 7, 5}, {2, 12, 5}}, {20, 18, 52, 72}},
    {"tripod", 1.0, {{24, 0, 70}, {30, 0, 78}, {62, 2, 64}, {66, 4, 66}}, {50, 44, 36, 32}},
    {"flat_bent", 0.8, {{62, 2, 8}, {64, 0, 8}, {65, 2, 8}, {66, 4, 8}}, {34, 30, 10, 14}},
    {"count_two_low", 0.6, {{4, 4, 6}, {70, 0, 95}, {74, 0, 96}, {6, 12, 8}}, {30, 40, 47, 52}},
};
constexpr int kNumArchetypes = sizeof(kArchetypes) / sizeof(kArchetypes[0]);

int draw_archetype(Random& random) {
  double total = 0;
  for (const Archetype& a : kArchetypes) total += a.weight;
  double target = random.uniform() * total;
  for (int i = 0; i < kNumArchetypes - 1; ++i) {
    target -= kArchetypes[i].weight;
    if (target < 0) return i;
  }
  return kNumArchetypes - 1;
}

// Two archetypes mixed, one finger sometimes taken from a third, and noise that moves whole
// fingers more than single joints.
Pose draw_pose(Random& random, double noise) {
  const Pose first = archetype_pose(draw_archetype(random));
  const Pose second = archetype_pose(draw_archetype(random));
  const Pose third = archetype_pose(draw_archetype(random));
  const double mix = random.chance(0.4) ? 0.0 : random.uniform();
  Pose pose;
  for (int i = 0; i < kPoseSize; ++i) pose[i] = first[i] + (second[i] - first[i]) * mix;
  if (random.chance(0.2)) {
    const int f = random.below(kNumFingers);
    for (int k = 0; k < 4; ++k) pose[kFinger + 4 * f + k] = third[kFinger + 4 * f + k];
  }
  const double curl = 5.0 * random.normal(), fan = 2.0 * random.normal();
  for (int f = 0; f < kNumFingers; ++f) {
    double* angle = &pose[kFinger + 4 * f];
    const double finger_curl = curl + 7.0 * random.normal();
    angle[0] += noise * radians(finger_curl + 5.0 * random.normal());
    angle[1] += noise * radians(fan + 2.5 * random.normal());
    angle[2] += noise * radians(finger_curl + 7.0 * random.normal());
    angle[3] = kDipPerPip * angle[2] + noise * radians(5.0 * random.normal());
  }
  pose[kThumbOpposition] += noise * radians(7.0 * random.normal());
  pose[kThumbSpread] += noise * radians(7.0 * random.normal());
  pose[kThumbMcp] += noise * radians(7.0 * random.normal());
  pose[kThumbIp] += noise * radians(10.0 * random.normal());
  pose[kWristFlexion] = radians(17.0 * random.normal());
  pose[kWristDeviation] = radians(7.0 * random.normal() - 4.0);
  return apply_limits(pose);
}

}  // namespace

const char* archetype_name(int index) {
  return index >= 0 && index < kNumArchetypes ? kArchetypes[index].name : nullptr;
}

Pose archetype_pose(int index) {
  const Archetype& a = kArchetypes[index];
  Pose pose{};
  for (int f = 0; f < kNumFingers; ++f) {
    for (int k = 0; k < 3; ++k) pose[kFinger + 4 * f + k] = radians(a.finger[f][k]);
    pose[kFinger + 4 * f + 3] = kDipPerPip * radians(a.finger[f][2]);
  }
  for (int k = 0; k < 4; ++k) pose[kThumbOpposition + k] = radians(a.thumb[k]);
  return pose;
}

Limits joint_limits() {
  Limits limits;
  for (int f = 0; f < kNumFingers; ++f) {
    const double low[4] = {-25, -15, 0, -5}, high[4] = {90, 22, 105, 80};
    for (int k = 0; k < 4; ++k) {
      limits.low[kFinger + 4 * f + k] = radians(low[k]);
      limits.high[kFinger + 4 * f + k] = radians(high[k]);
    }
  }
  const double low[6] = {0, 5, -10, -15, -55, -30}, high[6] = {50, 62, 55, 80, 60, 20};
  for (int k = 0; k < 6; ++k) {
    limits.low[kThumbOpposition + k] = radians(low[k]);
    limits.high[kThumbOpposition + k] = radians(high[k]);
  }
  return limits;
}

Pose apply_limits(const Pose& pose) {
  const Limits limits = joint_limits();
  Pose out;
  for (int i = 0; i < kPoseSize; ++i) out[i] = clamp(pose[i], limits.low[i], limits.high[i]);
  for (int f = 0; f < kNumFingers; ++f) {
    double* angle = &out[kFinger + 4 * f];
    // The collateral ligaments tighten with flexion: no spread is left at 90 degrees.
    angle[1] *= 1.0 - smoothstep(radians(10.0), radians(90.0), angle[0]);
  }
  return out;
}

Pose sample_pose(const Proportions& proportions, Random& random) {
  constexpr double kAllowed = 2.5e-3;  // m; soft tissue gives way by about this much
  constexpr int kAttempts = 12;
  Pose best{};
  double least = 1.0;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // Later attempts stray less from the archetypes, which are free of penetration.
    const Pose pose = draw_pose(random, 1.0 - 0.05 * attempt);
    const double depth = self_penetration(proportions, pose);
    if (depth < least) {
      least = depth;
      best = pose;
    }
    if (least < kAllowed) break;
  }
  return best;
}

}  // namespace pyhandpose::synthetic
