// Everything that is drawn at random for one sample, before a pixel is made.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "hand.h"
#include "surface.h"

namespace pyhandpose::synthetic {

// studio: soft steady light, plain backdrops, sharp and clean. wild: any light, cluttered
// backgrounds, sleeves, blur and sensor noise.
enum class Look { kStudio, kWild };

struct Camera {
  double focal_px, center_x_px, center_y_px;
};

struct Lighting {
  Vec3f key_direction;     // unit, towards the light
  Vec3f key, sky, ground;  // linear RGB
  Vec3f up;                // unit, where the sky is
  float shadow_sharpness;
};

struct Skin {
  Vec3f dorsal, palmar, nail, crease, sleeve;  // linear RGB
  float gloss, mottle, crease_strength;
  float sleeve_start;  // m from the wrist; beyond the forearm's end where there is no sleeve
  uint32_t noise_key;
};

enum class Solid : uint8_t { kSphere, kBox, kCapsule, kCylinder };

struct Occluder {
  Solid solid;
  Vec3f center;  // m, camera axes
  Vec3f axis_x, axis_y, axis_z;
  Vec3f half;            // half extents; capsule and cylinder: x radius, y half length
  Vec3f albedo;          // linear RGB
  float gloss, stripes;  // stripes: contrast of a pattern along y
  float bound;           // m, radius of a sphere about the centre that contains it
};

struct Sensor {
  int blur_passes;      // of a 1-2-1 filter over the whole picture
  int background_blur;  // the same, of the background alone, before the hand is laid over it
  float exposure, contrast, noise, vignette;
  Vec3f white_balance;
  uint64_t noise_key;
};

struct Scene {
  Look look;
  int size;  // px, width and height
  Proportions proportions;
  Pose pose;
  std::array<Vec3d, kNumJoints> joint;  // m, camera axes
  Skeleton skeleton;                    // hand frame
  Frame rotation;                       // hand frame to camera axes
  Vec3d translation;
  Surface surface;  // camera axes
  Camera camera;
  Lighting lighting;
  Skin skin;
  std::vector<Occluder> occluders;
  Sensor sensor;
};

Scene sample_scene(uint64_t seed, uint64_t index, Look look, int size);

}  // namespace pyhandpose::synthetic
