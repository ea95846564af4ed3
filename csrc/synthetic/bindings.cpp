#include "bindings.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "render.h"

namespace py = pybind11;

namespace pyhandpose::synthetic {
namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

Look parse_look(const std::string& look) {
  if (look == "studio") return Look::kStudio;
  if (look == "wild") return Look::kWild;
  throw std::invalid_argument("synthetic_render: look must be 'studio' or 'wild', got '" + look +
                              "'");
}

// Renders into new arrays; what a sample looks like depends on seed, index, look and size alone.
py::dict render_arrays(uint64_t seed, const Array<int64_t>& indices, const std::string& look,
                       int size, int num_threads, bool pixels) {
  const Look parsed = parse_look(look);
  const py::ssize_t n = indices.size(), s = size;
  Array<uint8_t> image({n, s, s, py::ssize_t{3}});
  Array<float> joints_img({n, py::ssize_t{kNumJoints}, py::ssize_t{2}});
  Array<float> joints_cam({n, py::ssize_t{kNumJoints}, py::ssize_t{3}});
  Array<float> intrinsics({n, py::ssize_t{3}, py::ssize_t{3}});
  Array<bool> visibility({n, py::ssize_t{kNumJoints}}), occluded(n);
  Array<bool> mask({pixels ? n : 0, s, s});
  Array<float> depth({pixels ? n : 0, s, s});
  static_assert(sizeof(bool) == 1);
  const auto bytes = [](Array<bool>& a) { return reinterpret_cast<uint8_t*>(a.mutable_data()); };
  const Buffers out{image.mutable_data(),
                    joints_img.mutable_data(),
                    joints_cam.mutable_data(),
                    intrinsics.mutable_data(),
                    bytes(visibility),
                    pixels ? bytes(mask) : nullptr,
                    pixels ? depth.mutable_data() : nullptr,
                    bytes(occluded)};
  const int64_t* wanted = indices.data();
  {
    py::gil_scoped_release release;
    render(seed, wanted, n, parsed, size, num_threads, out);
  }
  py::dict result;
  result["image"] = image;
  result["joints_img"] = joints_img;
  result["joints_cam"] = joints_cam;
  result["intrinsics"] = intrinsics;
  result["visibility"] = visibility;
  result["occluded"] = occluded;
  if (pixels) {
    result["mask"] = mask;
    result["depth"] = depth;
  }
  return result;
}

// Pose angles (count, kPoseSize), rad, of the samples: what render_arrays draws.
Array<double> sampled_poses(uint64_t seed, const Array<int64_t>& indices) {
  Array<double> poses({indices.size(), py::ssize_t{kPoseSize}});
  for (py::ssize_t i = 0; i < indices.size(); ++i) {
    const Scene scene =
        sample_scene(seed, static_cast<uint64_t>(indices.data()[i]), Look::kStudio, 64);
    std::copy(scene.pose.begin(), scene.pose.end(), poses.mutable_data() + i * kPoseSize);
  }
  return poses;
}

// kPoseSize angles, rad.
Pose parse_pose(const char* caller, const Array<double>& angles) {
  if (angles.size() != kPoseSize) {
    throw std::invalid_argument(std::string(caller) + ": pose must hold " +
                                std::to_string(kPoseSize) + " angles, got " +
                                std::to_string(angles.size()));
  }
  Pose pose;
  std::copy(angles.data(), angles.data() + kPoseSize, pose.begin());
  return pose;
}

// Joints (21,3), m, hand frame, of person `person` in the given pose (kPoseSize angles).
Array<double> joints_of_pose(const Array<double>& angles, uint64_t person) {
  const Pose pose = parse_pose("synthetic_joints", angles);
  Random random(person, 0, Stream::kProportions);
  const Skeleton skeleton = forward_kinematics(sample_proportions(random), pose);
  Array<double> joints({py::ssize_t{kNumJoints}, py::ssize_t{3}});
  for (int j = 0; j < kNumJoints; ++j) {
    const Vec3d& p = skeleton.joint[j];
    const double xyz[3] = {p.x, p.y, p.z};
    std::copy(xyz, xyz + 3, joints.mutable_data() + 3 * j);
  }
  return joints;
}

Array<float> cones_depth(const Array<double>& cones, const std::vector<double>& camera, int size) {
  if (cones.ndim() != 2 || cones.shape(1) != 8 || cones.shape(0) > kMaxCones ||
      camera.size() != 3) {
    throw std::invalid_argument(
        "synthetic_cones_depth: cones must be (N <= 40, 8), camera 3 numbers");
  }
  Array<float> depth({py::ssize_t{size}, py::ssize_t{size}});
  trace_depth(cones.data(), static_cast<int>(cones.shape(0)), {camera[0], camera[1], camera[2]},
              size, depth.mutable_data());
  return depth;
}

py::dict archetypes() {
  py::dict poses;
  for (int i = 0; archetype_name(i); ++i) {
    const Pose pose = archetype_pose(i);
    poses[archetype_name(i)] = Array<double>(kPoseSize, pose.data());
  }
  return poses;
}

// Deepest overlap, m, of the flesh of person `person` in the given pose (kPoseSize angles).
double penetration(const Array<double>& angles, uint64_t person) {
  const Pose pose = parse_pose("synthetic_penetration", angles);
  Random random(person, 0, Stream::kProportions);
  return self_penetration(sample_proportions(random), pose);
}

}  // namespace

void bind_synthetic(py::module_& parent) {
  py::module_ module = parent.def_submodule("synthetic", "The renderer of the synthetic world.");
  module.attr("version") = kRendererVersion;
  module.def("render", &render_arrays, py::arg("seed"), py::arg("indices"), py::arg("look"),
             py::arg("size"), py::arg("num_threads"), py::arg("pixels"));
  module.def("poses", &sampled_poses, py::arg("seed"), py::arg("indices"));
  module.def("pose_limits", [] {
    const Limits limits = joint_limits();
    return py::make_tuple(Array<double>(kPoseSize, limits.low.data()),
                          Array<double>(kPoseSize, limits.high.data()));
  });
  module.def("archetypes", &archetypes);
  module.def("joints", &joints_of_pose, py::arg("pose"), py::arg("person"));
  module.def("penetration", &penetration, py::arg("pose"), py::arg("person"));
  module.def("cones_depth", &cones_depth, py::arg("cones"), py::arg("camera"), py::arg("size"));
}

}  // namespace pyhandpose::synthetic
