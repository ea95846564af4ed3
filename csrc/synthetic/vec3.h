// Small vectors and rotations of the synthetic world. double for geometry, float for light.
#pragma once

#include <cmath>

namespace pyhandpose::synthetic {

inline constexpr double kPi = 3.14159265358979323846;

template <typename T>
struct Vec3 {
  T x{}, y{}, z{};

  Vec3 operator+(const Vec3& o) const { return {x + o.x, y + o.y, z + o.z}; }
  Vec3 operator-(const Vec3& o) const { return {x - o.x, y - o.y, z - o.z}; }
  Vec3 operator*(const Vec3& o) const { return {x * o.x, y * o.y, z * o.z}; }
  Vec3 operator*(T s) const { return {x * s, y * s, z * s}; }
  Vec3 operator-() const { return {-x, -y, -z}; }
};

using Vec3d = Vec3<double>;
using Vec3f = Vec3<float>;

template <typename T>
T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

template <typename T>
Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

template <typename T>
T norm(const Vec3<T>& a) {
  return std::sqrt(dot(a, a));
}

template <typename T>
Vec3<T> normalize(const Vec3<T>& a) {
  return a * (T(1) / norm(a));
}

template <typename T>
Vec3<T> lerp(const Vec3<T>& a, const Vec3<T>& b, T t) {
  return a + (b - a) * t;
}

inline Vec3f to_float(const Vec3d& a) {
  return {static_cast<float>(a.x), static_cast<float>(a.y), static_cast<float>(a.z)};
}

template <typename T>
T clamp(T value, T low, T high) {
  return value < low ? low : (high < value ? high : value);
}

// 0 below `low`, 1 above `high`, smooth between (either order of the two).
template <typename T>
T smoothstep(T low, T high, T value) {
  const T t = clamp((value - low) / (high - low), T(0), T(1));
  return t * t * (T(3) - T(2) * t);
}

// Sine and cosine by polynomial: libm may differ in the last bit between machines, and a last bit
// can move a pixel from one surface to another. Error below 1e-11.
inline void sin_cos(double angle, double* sine, double* cosine) {
  const double turns = std::floor(angle / (kPi / 2) + 0.5);
  const double r = angle - turns * (kPi / 2);
  const double r2 = r * r;
  const double s =
      r * (1 + r2 * (-1.0 / 6 +
                     r2 * (1.0 / 120 +
                           r2 * (-1.0 / 5040 + r2 * (1.0 / 362880 + r2 * (-1.0 / 39916800))))));
  const double c =
      1 + r2 * (-0.5 + r2 * (1.0 / 24 + r2 * (-1.0 / 720 +
                                              r2 * (1.0 / 40320 + r2 * (-1.0 / 3628800 +
                                                                        r2 * (1.0 / 479001600))))));
  const long quarter = static_cast<long>(turns) & 3;
  *sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
  *cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
}

// A right-handed orthonormal frame, given by its axes; also the rotation from it to its parent.
struct Frame {
  Vec3d x{1, 0, 0}, y{0, 1, 0}, z{0, 0, 1};

  Vec3d operator*(const Vec3d& v) const { return x * v.x + y * v.y + z * v.z; }
  Frame operator*(const Frame& o) const { return {*this * o.x, *this * o.y, *this * o.z}; }
};

inline Frame rotation_x(double angle) {
  double s, c;
  sin_cos(angle, &s, &c);
  return {{1, 0, 0}, {0, c, s}, {0, -s, c}};
}

inline Frame rotation_y(double angle) {
  double s, c;
  sin_cos(angle, &s, &c);
  return {{c, 0, -s}, {0, 1, 0}, {s, 0, c}};
}

inline Frame rotation_z(double angle) {
  double s, c;
  sin_cos(angle, &s, &c);
  return {{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
}

}  // namespace pyhandpose::synthetic
