#include "scene.h"

#include <algorithm>
#include <cmath>

namespace pyhandpose::synthetic {
namespace {

constexpr double kForearmLength = 0.42;  // m; reaches beyond every image border

// Uniform over all rotations (Shoemake, Graphics Gems III).
Frame random_rotation(Random& random) {
  const double u = random.uniform();
  double s1, c1, s2, c2;
  sin_cos(2 * kPi * random.uniform(), &s1, &c1);
  sin_cos(2 * kPi * random.uniform(), &s2, &c2);
  const double a = std::sqrt(1 - u), b = std::sqrt(u);
  const double x = a * s1, y = a * c1, z = b * s2, w = b * c2;
  return {{1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)},
          {2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)},
          {2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)}};
}

Vec3d random_direction(Random& random) { return random_rotation(random).y; }

// Largest tilt, radians, of the arm from the picture's upright, either way; triangular, so most
// tilt less.
constexpr double kMaxTilt = kPi / 2;

// The rotation about the line of sight after which `direction` points up in the picture, tilted by
// `tilt` to the right.
Frame upright(const Vec3d& direction, double tilt) {
  double up_x, up_y;
  sin_cos(tilt, &up_x, &up_y);
  up_y = -up_y;  // y points down
  const double length = std::sqrt(direction.x * direction.x + direction.y * direction.y) + 1e-12;
  const double c = (direction.x * up_x + direction.y * up_y) / length;
  const double s = (direction.x * up_y - direction.y * up_x) / length;
  return {{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
}

// Any side of the hand, except from behind an arm that would hide it, and from so far in front that
// the arm would end inside the picture. The arm comes from below, as in most photos of hands.
Frame random_view(Random& random, const Frame& forearm) {
  Frame rotation;
  for (int attempt = 0; attempt < 32; ++attempt) {
    rotation = random_rotation(random);
    const double elbow_towards_camera = (rotation * forearm.y).z;  // y points away from the elbow
    if (elbow_towards_camera < 0.45 && elbow_towards_camera > -0.82) break;
  }
  const double tilt = kMaxTilt * (random.uniform() + random.uniform() - 1);
  return upright(rotation * forearm.y, tilt) * rotation;
}

struct Box {
  double low_x = 1e9, high_x = -1e9, low_y = 1e9, high_y = -1e9;
  double center_x() const { return (low_x + high_x) / 2; }
  double center_y() const { return (low_y + high_y) / 2; }
  double side() const { return std::max(high_x - low_x, high_y - low_y); }
};

// Bounding box of the joints on the plane z = 1.
Box image_box(const Scene& scene) {
  Box box;
  for (const Vec3d& j : scene.skeleton.joint) {
    const Vec3d p = scene.rotation * j + scene.translation;
    box.low_x = std::min(box.low_x, p.x / p.z);
    box.high_x = std::max(box.high_x, p.x / p.z);
    box.low_y = std::min(box.low_y, p.y / p.z);
    box.high_y = std::max(box.high_y, p.y / p.z);
  }
  return box;
}

// The crop of a loose detector: the joints' box takes up a random share of the picture and lies
// anywhere that leaves a margin around it.
void place_camera(Random& random, Scene* scene) {
  const double size = scene->size;
  const double distance = random.uniform(0.38, 0.85);
  const double share = random.uniform(0.50, 0.75);
  const double slack = (1 - share) / 2 - 0.04;
  scene->camera.center_x_px = (size - 1) / 2 + size * random.uniform(-0.03, 0.03);
  scene->camera.center_y_px = (size - 1) / 2 + size * random.uniform(-0.03, 0.03);
  const double target_x = (size - 1) / 2 + size * random.uniform(-slack, slack);
  const double target_y = (size - 1) / 2 + size * random.uniform(-slack, slack);

  Vec3d middle{0, 0, 0};
  for (const Vec3d& j : scene->skeleton.joint) middle = middle + j * (1.0 / kNumJoints);
  scene->translation = Vec3d{0, 0, distance} - scene->rotation * middle;
  // Moving the hand sideways changes its perspective a little, so the fit is repeated.
  for (int i = 0; i < 4; ++i) {
    const Box box = image_box(*scene);
    scene->camera.focal_px = share * size / box.side();
    const double x = (target_x - scene->camera.center_x_px) / scene->camera.focal_px;
    const double y = (target_y - scene->camera.center_y_px) / scene->camera.focal_px;
    scene->translation =
        scene->translation + Vec3d{x - box.center_x(), y - box.center_y(), 0} * distance;
  }
  scene->camera.focal_px = share * size / image_box(*scene).side();
}

Vec3f rgb(double r, double g, double b) {
  return {static_cast<float>(r), static_cast<float>(g), static_cast<float>(b)};
}

// Linear RGB from an sRGB triple of 0..255, by the square (close to the sRGB curve).
Vec3f from_srgb(double r, double g, double b) {
  return rgb(r * r / 65025, g * g / 65025, b * b / 65025);
}

Vec3f random_color(Random& random, double low, double high) {
  const double value = random.uniform(low, high), saturation = random.uniform();
  const Vec3d c{random.uniform(), random.uniform(), random.uniform()};
  const double mean = (c.x + c.y + c.z) / 3;
  const auto mix = [&](double channel) {
    return clamp(value * (1 + saturation * (channel - mean) / 0.5), 0.01, 1.0);
  };
  return rgb(mix(c.x), mix(c.y), mix(c.z));
}

Skin sample_skin(Random& random, Look look) {
  // Photographed skin from light to dark, sRGB.
  constexpr double kTones[][3] = {{247, 214, 194}, {236, 192, 162}, {222, 172, 138},
                                  {199, 146, 110}, {164, 113, 80},  {122, 80, 56},
                                  {84, 54, 39}};
  constexpr int kLast = sizeof(kTones) / sizeof(kTones[0]) - 1;
  const double darkness = random.uniform();
  const double at = darkness * kLast;
  const int i = std::min(static_cast<int>(at), kLast - 1);
  const auto tone = [&](int channel) {
    return kTones[i][channel] + (kTones[i + 1][channel] - kTones[i][channel]) * (at - i);
  };
  const double warmth = random.normal(), value = 1 + 0.04 * random.normal();
  const Vec3f dorsal = from_srgb(tone(0) * value * (1 + 0.008 * warmth), tone(1) * value,
                                 tone(2) * value * (1 - 0.022 * warmth));
  const Vec3f pink = from_srgb(232, 172, 152);
  Skin skin;
  skin.dorsal = dorsal;
  skin.palmar =
      lerp(dorsal * rgb(1.06, 0.95, 0.94), pink, static_cast<float>(0.18 + 0.42 * darkness));
  skin.nail = lerp(dorsal * rgb(1.12, 0.98, 1.0), from_srgb(240, 190, 178),
                   static_cast<float>(0.45 - 0.1 * darkness));
  skin.crease = rgb(0.62, 0.42, 0.36);
  skin.gloss = static_cast<float>(random.uniform(0.04, look == Look::kStudio ? 0.10 : 0.20));
  skin.mottle = static_cast<float>(random.uniform(0.04, 0.12));
  skin.crease_strength = static_cast<float>(random.uniform(0.45, 1.0));
  const bool sleeve = random.chance(look == Look::kStudio ? 0.25 : 0.45);
  const double start = random.uniform(0.03, 0.09);
  skin.sleeve_start = static_cast<float>(sleeve ? start : 1.0);
  skin.sleeve = random_color(random, 0.05, 0.55);
  if (random.chance(look == Look::kStudio ? 0.04 : 0.08))
    skin.nail = random_color(random, 0.1, 0.6);
  skin.noise_key = static_cast<uint32_t>(random.bits());
  return skin;
}

Lighting sample_lighting(Random& random, Look look) {
  Lighting light;
  light.up = {0, -1, 0};
  if (look == Look::kStudio) {
    // A large soft box over the camera's shoulder and a bright room.
    const Vec3d d = normalize(Vec3d{random.uniform(-0.9, 0.9), random.uniform(-1.1, -0.25), -1.0});
    light.key_direction = to_float(d);
    const double key = random.uniform(0.75, 1.0), fill = random.uniform(0.38, 0.55);
    light.key = rgb(key, key * 0.985, key * 0.96);
    light.sky = rgb(fill * 0.98, fill, fill * 1.02);
    light.ground = rgb(fill * 0.62, fill * 0.6, fill * 0.58);
    light.shadow_sharpness = 5.0f;
    return light;
  }
  Vec3d d = random_direction(random);
  d.z = -(d.z < 0 ? -d.z : d.z) - 0.15;  // seldom from far behind the hand
  d.y -= 0.35;
  light.key_direction = to_float(normalize(d));
  const double warmth = random.normal();
  const double key = random.uniform(0.35, 1.5), fill = random.uniform(0.16, 0.6);
  light.key = rgb(key * (1 + 0.10 * warmth), key, key * (1 - 0.13 * warmth));
  const double tint = random.normal();
  light.sky = rgb(fill * (1 - 0.10 * tint), fill, fill * (1 + 0.12 * tint));
  const Vec3f bounce = random_color(random, 0.2, 0.8);
  light.ground = lerp(rgb(fill, fill, fill), bounce * static_cast<float>(fill * 1.6), 0.6f) * 0.65f;
  light.shadow_sharpness = static_cast<float>(random.uniform(3.5, 9.0));
  return light;
}

Occluder sample_occluder(Random& random, const Scene& scene) {
  Occluder o;
  o.solid = static_cast<Solid>(random.below(4));
  const double size = scene.proportions.size;
  const double girth = size * random.uniform(0.008, 0.020),
               length = size * random.uniform(0.03, 0.10);
  switch (o.solid) {
    case Solid::kSphere:
      o.half = to_float(Vec3d{1, 1, 1} * (girth * 1.25));
      break;
    case Solid::kBox:
      o.half = to_float(Vec3d{girth, length * 0.6, girth * random.uniform(0.3, 1.0)});
      break;
    default:
      o.half = to_float(Vec3d{girth * 0.6, length, girth * 0.6});
  }
  o.bound = norm(o.half) + (o.solid == Solid::kCapsule ? o.half.x : 0.0f);
  const Frame frame = random_rotation(random);
  o.axis_x = to_float(frame.x);
  o.axis_y = to_float(frame.y);
  o.axis_z = to_float(frame.z);
  // Between the camera and a joint, clear of the hand's flesh.
  const Vec3d joint = scene.joint[random.below(kNumJoints)];
  const double clearance = 0.025 * size + o.bound + random.uniform(0.0, 0.05);
  const double distance = norm(joint);
  const Vec3d aside = random_direction(random) * (0.02 * size);
  o.center = to_float(joint * ((distance - clearance) / distance) + aside);
  o.albedo = random_color(random, 0.05, 0.7);
  o.gloss = static_cast<float>(random.uniform(0.0, 0.35));
  o.stripes = static_cast<float>(random.chance(0.35) ? random.uniform(0.2, 0.7) : 0.0);
  return o;
}

Sensor sample_sensor(Random& random, Look look) {
  const bool wild = look == Look::kWild;
  Sensor s;
  s.background_blur = wild ? random.below(4) : 0;
  s.blur_passes = wild && random.chance(0.5) ? 1 + random.below(2) : 0;
  s.exposure = static_cast<float>(wild ? random.uniform(0.65, 1.3) : random.uniform(0.9, 1.1));
  s.contrast = static_cast<float>(wild ? random.uniform(-0.25, 0.35) : 0.0);
  s.noise = static_cast<float>(wild ? random.uniform(0.005, 0.035) : 0.004);
  s.vignette = static_cast<float>(wild ? random.uniform(0.0, 0.35) : 0.05);
  const double cast = wild ? 0.07 * random.normal() : 0.0;
  const double green = wild ? 0.025 * random.normal() : 0.0;
  s.white_balance = rgb(1 + cast, 1 + green, 1 - cast);
  s.noise_key = random.bits();
  return s;
}

}  // namespace

Scene sample_scene(uint64_t seed, uint64_t index, Look look, int size) {
  const auto stream = [&](Stream which) { return Random(seed, index, which); };
  Random shape = stream(Stream::kProportions), pose = stream(Stream::kPose);
  Random view = stream(Stream::kCamera), light = stream(Stream::kLight);
  Random skin = stream(Stream::kSkin), objects = stream(Stream::kOccluder);
  Random sensor = stream(Stream::kSensor);

  Scene scene;
  scene.look = look;
  scene.size = size;
  scene.proportions = sample_proportions(shape);
  scene.pose = sample_pose(scene.proportions, pose);
  scene.skeleton = forward_kinematics(scene.proportions, scene.pose);
  scene.rotation = random_view(view, scene.skeleton.forearm);
  place_camera(view, &scene);
  for (int j = 0; j < kNumJoints; ++j) {
    scene.joint[j] = scene.rotation * scene.skeleton.joint[j] + scene.translation;
  }
  scene.surface = transform(build_surface(scene.proportions, scene.skeleton, kForearmLength),
                            scene.rotation, scene.translation);
  scene.lighting = sample_lighting(light, look);
  scene.skin = sample_skin(skin, look);
  if (objects.chance(look == Look::kStudio ? 0.15 : 0.35)) {
    const int count = 1 + objects.below(2);
    for (int i = 0; i < count; ++i) scene.occluders.push_back(sample_occluder(objects, scene));
  }
  scene.sensor = sample_sensor(sensor, look);
  return scene;
}

}  // namespace pyhandpose::synthetic
