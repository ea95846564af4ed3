// Plan: the picture is cut into tiles of 4 x 4 pixels, one packet of rays each. Pass 1 finds the
// surfaces along the pixels' centre rays, from which all labels follow. Pass 2 shades: inside a
// surface once per pixel, along outlines with four rays per pixel. Cones far from a tile are left
// out, first per block of 16 x 16 pixels, then per tile. Samples are spread over threads.
#include "render.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "background.h"
#include "light.h"
#include "occluder.h"
#include "picture.h"
#include "skin.h"
#include "tracer.h"

namespace pyhandpose::synthetic {
namespace {

constexpr int kTile = 4;
constexpr int kBlock = 16;
constexpr float kMaxTravel = 2.0f;      // m
constexpr float kCullMargin = 0.012f;   // m: wider than any blend
constexpr float kOutlineStep = 0.006f;  // m of depth between neighbouring pixels
constexpr int8_t kNothing = -1;
constexpr int8_t kHand = -2;

Vec3f pixel_ray(const Camera& camera, double x_px, double y_px) {
  const Vec3d ray{(x_px - camera.center_x_px) / camera.focal_px,
                  (y_px - camera.center_y_px) / camera.focal_px, 1.0};
  return to_float(normalize(ray));
}

void set_ray(Packet* packet, int lane, const Vec3f& direction) {
  packet->direction.x[lane] = direction.x;
  packet->direction.y[lane] = direction.y;
  packet->direction.z[lane] = direction.z;
  packet->active[lane] = true;
}

// Lanes without a pixel still take part in the arithmetic; they must hold finite numbers.
Packet empty_packet() {
  Packet packet{};
  for (int l = 0; l < kLanes; ++l) packet.direction.z[l] = 1.0f;
  return packet;
}

ConeList cull(const Surface& surface, const ConeList& list, const Packet& packet) {
  const PacketBounds b = bounds(packet);
  return near_ray(surface, list, {0, 0, 0}, b.axis, kMaxTravel, 0.0f, b.spread, kCullMargin);
}

struct Nearest {
  float travel = kMaxTravel;
  int8_t object = kNothing;  // index of an occluder, kHand or kNothing
};

class Renderer {
 public:
  // Renders one sample into slot `slot` of the buffers.
  void run(uint64_t seed, int64_t index, Look look, int size, int64_t slot, const Buffers& out) {
    const Scene scene = sample_scene(seed, static_cast<uint64_t>(index), look, size);
    const SkinPainter painter(scene);
    scene_ = &scene;
    painter_ = &painter;
    size_ = size;
    nearest_.assign(size * size, {});
    mask_.assign(size * size, 0);
    hidden_hand_ = false;
    picture_.size = size;
    draw_background(seed, static_cast<uint64_t>(index), look, size, &picture_.pixel);
    picture_.blur(scene.sensor.background_blur);
    find_surfaces();
    if (look == Look::kStudio) picture_.cast_shadow(mask_, scene.lighting.key_direction);
    shade();
    picture_.blur(scene.sensor.blur_passes);
    picture_.develop(scene.sensor, out.image + slot * size * size * 3);
    write_labels(slot, out);
  }

 private:
  template <typename Visit>  // visit(x0, y0, list) for each tile that the hand or an object may
                             // touch
  void for_each_tile(Visit visit) const {
    const ConeList all = scene_->surface.all();
    for (int by = 0; by < size_; by += kBlock) {
      for (int bx = 0; bx < size_; bx += kBlock) {
        Packet corners = empty_packet();
        const int far_x = std::min(bx + kBlock, size_) - 1,
                  far_y = std::min(by + kBlock, size_) - 1;
        set_ray(&corners, 0, ray(bx - 0.5, by - 0.5));
        set_ray(&corners, 1, ray(far_x + 0.5, by - 0.5));
        set_ray(&corners, 2, ray(bx - 0.5, far_y + 0.5));
        set_ray(&corners, 3, ray(far_x + 0.5, far_y + 0.5));
        const ConeList block = cull(scene_->surface, all, corners);
        if (block.count == 0 && scene_->occluders.empty()) continue;
        for (int y = by; y <= far_y; y += kTile) {
          for (int x = bx; x <= far_x; x += kTile) visit(x, y, block);
        }
      }
    }
  }

  Vec3f ray(double x_px, double y_px) const { return pixel_ray(scene_->camera, x_px, y_px); }

  Packet tile_packet(int x0, int y0) const {
    Packet packet = empty_packet();
    for (int l = 0; l < kLanes; ++l) {
      const int x = x0 + l % kTile, y = y0 + l / kTile;
      if (x < size_ && y < size_) set_ray(&packet, l, ray(x, y));
    }
    return packet;
  }

  // Pass 1: what each pixel's centre ray meets first.
  void find_surfaces() {
    for_each_tile([&](int x0, int y0, const ConeList& block) {
      Packet packet = tile_packet(x0, y0);
      const ConeList list = cull(scene_->surface, block, packet);
      if (list.count > 0) trace(scene_->surface, list, &packet);
      for (int l = 0; l < kLanes; ++l) {
        if (!packet.active[l]) continue;
        const Vec3f direction = packet.direction.at(l);
        const float hand = list.count > 0 ? packet.travel[l] : -1.0f;
        const Nearest found = nearest_along(direction, hand);
        if (hand > 0.0f && found.object != kHand) hidden_hand_ = true;
        const int pixel = (y0 + l / kTile) * size_ + x0 + l % kTile;
        nearest_[pixel] = found;
        mask_[pixel] = found.object == kHand;
      }
    });
  }

  Nearest nearest_along(const Vec3f& direction, float hand_travel) const {
    Nearest found;
    if (hand_travel > 0.0f) found = {hand_travel, kHand};
    for (size_t i = 0; i < scene_->occluders.size(); ++i) {
      const float travel = trace_occluder(scene_->occluders[i], direction);
      if (travel > 0.0f && travel < found.travel) found = {travel, static_cast<int8_t>(i)};
    }
    return found;
  }

  bool is_outline(int x, int y) const {
    const Nearest& here = nearest_[y * size_ + x];
    const auto differs = [&](int nx, int ny) {
      if (nx < 0 || ny < 0 || nx >= size_ || ny >= size_) return false;
      const Nearest& there = nearest_[ny * size_ + nx];
      const float step = there.travel - here.travel;
      return there.object != here.object || step > kOutlineStep || step < -kOutlineStep;
    };
    return differs(x - 1, y) || differs(x + 1, y) || differs(x, y - 1) || differs(x, y + 1);
  }

  // Pass 2.
  void shade() {
    // Outlines are found before any colour is written: they read the neighbours' surfaces only.
    for_each_tile([&](int x0, int y0, const ConeList& block) {
      int inner[kLanes], edge[kLanes], inner_count = 0, edge_count = 0;
      for (int l = 0; l < kLanes; ++l) {
        const int x = x0 + l % kTile, y = y0 + l / kTile;
        if (x >= size_ || y >= size_) continue;
        const int pixel = y * size_ + x;
        if (is_outline(x, y)) {
          edge[edge_count++] = pixel;
        } else if (nearest_[pixel].object != kNothing) {
          inner[inner_count++] = pixel;
        }
      }
      if (inner_count > 0) shade_inner(inner, inner_count, block);
      for (int i = 0; i < edge_count; i += 4) {
        shade_outline(edge + i, std::min(4, edge_count - i), block);
      }
    });
  }

  void shade_inner(const int* pixels, int count, const ConeList& block) {
    Packet packet = empty_packet();
    bool hand = false;
    for (int l = 0; l < count; ++l) {
      const Nearest& found = nearest_[pixels[l]];
      const Vec3f direction = ray(pixels[l] % size_, pixels[l] / size_);
      set_ray(&packet, l, direction);
      packet.travel[l] = found.object == kHand ? found.travel : -1.0f;
      hand = hand || found.object == kHand;
      if (found.object >= 0) picture_.pixel[pixels[l]] = object_color(found, direction);
    }
    for (int l = count; l < kLanes; ++l) packet.travel[l] = -1.0f;
    if (!hand) return;
    Vec3f shaded[kLanes];
    shade_hand(packet, cull(scene_->surface, block, packet), shaded);
    for (int l = 0; l < count; ++l) {
      if (packet.travel[l] > 0.0f) picture_.pixel[pixels[l]] = shaded[l];
    }
  }

  // Up to four pixels with four rays each, on a turned grid.
  void shade_outline(const int* pixels, int count, const ConeList& block) {
    constexpr double kOffset[4][2] = {
        {-0.125, -0.375}, {0.375, -0.125}, {0.125, 0.375}, {-0.375, 0.125}};
    Packet packet = empty_packet();
    for (int l = 0; l < 4 * count; ++l) {
      const int pixel = pixels[l / 4];
      set_ray(&packet, l,
              ray(pixel % size_ + kOffset[l % 4][0], pixel / size_ + kOffset[l % 4][1]));
    }
    const ConeList list = cull(scene_->surface, block, packet);
    for (int l = 0; l < kLanes; ++l) packet.travel[l] = -1.0f;
    if (list.count > 0) trace(scene_->surface, list, &packet);
    Nearest found[kLanes];
    bool hand = false;
    for (int l = 0; l < 4 * count; ++l) {
      found[l] = nearest_along(packet.direction.at(l), packet.travel[l]);
      if (found[l].object != kHand) packet.travel[l] = -1.0f;
      hand = hand || found[l].object == kHand;
    }
    Vec3f shaded[kLanes];
    if (hand) shade_hand(packet, list, shaded);
    for (int i = 0; i < count; ++i) {
      Vec3f sum{0, 0, 0};
      for (int l = 4 * i; l < 4 * i + 4; ++l) {
        if (found[l].object == kHand) {
          sum = sum + shaded[l];
        } else if (found[l].object >= 0) {
          sum = sum + object_color(found[l], packet.direction.at(l));
        } else {
          sum = sum + picture_.pixel[pixels[i]];
        }
      }
      picture_.pixel[pixels[i]] = sum * 0.25f;
    }
  }

  // Linear RGB of the hand at the packet's hits.
  void shade_hand(const Packet& packet, const ConeList& list, Vec3f* out) const {
    const Surface& surface = scene_->surface;
    const Lighting& light = scene_->lighting;
    const LanePoints points = hit_points(packet);
    const LanePoints normal = normals(surface, list, points);

    Vec3f low = points.at(0), high = low;
    for (int l = 1; l < kLanes; ++l) {
      const Vec3f p = points.at(l);
      low = {std::min(low.x, p.x), std::min(low.y, p.y), std::min(low.z, p.z)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y), std::max(high.z, p.z)};
    }
    const Vec3f middle = lerp(low, high, 0.5f);
    const float radius = 0.5f * norm(high - low);
    const ConeList all = surface.all();
    const float size = static_cast<float>(scene_->proportions.size);
    const ConeList around =
        near_point(surface, all, middle, radius + kAmbientReach * size + kCullMargin);
    const Lanes access = ambient_access(surface, around, points, normal, kAmbientReach * size);
    const ConeList towards = near_ray(surface, all, middle, light.key_direction, kShadowReach,
                                      radius, 1.0f / light.shadow_sharpness, kCullMargin);
    const Lanes lit =
        light_access(surface, towards, points, normal, light.key_direction, light.shadow_sharpness);
    for (int l = 0; l < kLanes; ++l) {
      if (packet.travel[l] <= 0.0f) continue;
      const SurfacePoint skin = painter_->paint(list, points.at(l), normal.at(l));
      out[l] = illuminate(light, skin, normal.at(l), -packet.direction.at(l), access[l], lit[l]);
    }
  }

  Vec3f object_color(const Nearest& found, const Vec3f& direction) const {
    return shade_occluder(scene_->occluders[found.object], scene_->lighting, direction,
                          found.travel);
  }

  void write_labels(int64_t slot, const Buffers& out) const {
    const Camera& k = scene_->camera;
    const auto f32 = [](double v) { return static_cast<float>(v); };
    if (out.intrinsics) {
      const float matrix[9] = {
          f32(k.focal_px), 0, f32(k.center_x_px), 0, f32(k.focal_px), f32(k.center_y_px), 0, 0, 1};
      std::copy(matrix, matrix + 9, out.intrinsics + slot * 9);
    }
    for (int j = 0; j < kNumJoints; ++j) {
      const Vec3d& p = scene_->joint[j];
      const int64_t at = slot * kNumJoints + j;
      if (out.joints_cam) {
        const float xyz[3] = {f32(p.x), f32(p.y), f32(p.z)};
        std::copy(xyz, xyz + 3, out.joints_cam + at * 3);
      }
      if (out.joints_img) {
        out.joints_img[at * 2] = f32(k.focal_px * p.x / p.z + k.center_x_px);
        out.joints_img[at * 2 + 1] = f32(k.focal_px * p.y / p.z + k.center_y_px);
      }
    }
    if (out.visibility) write_visibility(out.visibility + slot * kNumJoints);
    for (int i = 0; i < size_ * size_; ++i) {
      const bool hand = mask_[i];
      if (out.mask) out.mask[slot * size_ * size_ + i] = hand;
      if (out.depth) {
        const float z = hand ? ray(i % size_, i / size_).z : 0.0f;
        out.depth[slot * size_ * size_ + i] = hand ? nearest_[i].travel * z : 0.0f;
      }
    }
    if (out.occluded) out.occluded[slot] = hidden_hand_;
  }

  // A joint is visible when the ray to it meets the flesh of that joint first: the surface lies at
  // most the flesh's radius (and a little, for oblique rays) in front of it.
  void write_visibility(uint8_t* visibility) const {
    const Proportions& p = scene_->proportions;
    for (int first = 0; first < kNumJoints; first += kLanes) {
      Packet packet = empty_packet();
      const int count = std::min(kLanes, kNumJoints - first);
      for (int l = 0; l < count; ++l)
        set_ray(&packet, l, to_float(normalize(scene_->joint[first + l])));
      trace(scene_->surface, scene_->surface.all(), &packet);
      for (int l = 0; l < count; ++l) {
        const int j = first + l;
        const Vec3d& joint = scene_->joint[j];
        const double x = scene_->camera.focal_px * joint.x / joint.z + scene_->camera.center_x_px;
        const double y = scene_->camera.focal_px * joint.y / joint.z + scene_->camera.center_y_px;
        const bool inside = x >= -0.5 && y >= -0.5 && x < size_ - 0.5 && y < size_ - 0.5;
        const double radius = j == 0  ? 0.0165 * p.size * p.thickness
                              : j < 5 ? p.thumb_radius[j - 1]
                                      : p.radius[(j - 5) / 4][(j - 5) % 4];
        const double allowed = 1.5 * radius + 0.002;
        const Nearest found = nearest_along(packet.direction.at(l), packet.travel[l]);
        visibility[j] = inside && found.object == kHand && norm(joint) - found.travel < allowed;
      }
    }
  }

  const Scene* scene_ = nullptr;
  const SkinPainter* painter_ = nullptr;
  int size_ = 0;
  bool hidden_hand_ = false;
  std::vector<Nearest> nearest_;
  std::vector<uint8_t> mask_;  // 1 where the hand is seen
  Picture picture_;
};

}  // namespace

void render(uint64_t seed, const int64_t* indices, int64_t count, Look look, int size,
            int num_threads, const Buffers& out) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    Renderer renderer;
    for (int64_t i = next++; i < count; i = next++)
      renderer.run(seed, indices[i], look, size, i, out);
  };
  const int64_t workers = std::min<int64_t>(num_threads, count);
  std::vector<std::thread> threads;
  for (int64_t t = 1; t < workers; ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
}

void trace_depth(const double* cones, int count, const Camera& camera, int size, float* depth) {
  Surface surface;
  for (int i = 0; i < count; ++i) {
    const double* c = cones + 8 * i;
    surface.add(make_cone({c[0], c[1], c[2]}, {c[3], c[4], c[5]}, c[6], c[7], 1e-6, kPalm,
                          Tissue::kPalmar, false, {0, 0, -1}));
  }
  const ConeList all = surface.all();
  for (int y = 0; y < size; ++y) {
    for (int x0 = 0; x0 < size; x0 += kLanes) {
      Packet packet = empty_packet();
      const int lanes = std::min(kLanes, size - x0);
      for (int l = 0; l < lanes; ++l) set_ray(&packet, l, pixel_ray(camera, x0 + l, y));
      trace(surface, all, &packet);
      for (int l = 0; l < lanes; ++l) {
        const float t = packet.travel[l];
        depth[y * size + x0 + l] = t > 0.0f ? t * packet.direction.z[l] : 0.0f;
      }
    }
  }
}

}  // namespace pyhandpose::synthetic
