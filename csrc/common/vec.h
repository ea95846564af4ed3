// Vectors of two and three components.
#pragma once

#include "scalar.h"

namespace pyhandpose {

template <typename T>
struct Vec2 {
  T x, y;
};

template <typename T>
PYHANDPOSE_HD Vec2<T> operator+(Vec2<T> a, Vec2<T> b) {
  return {a.x + b.x, a.y + b.y};
}
template <typename T>
PYHANDPOSE_HD Vec2<T> operator-(Vec2<T> a, Vec2<T> b) {
  return {a.x - b.x, a.y - b.y};
}
template <typename T>
PYHANDPOSE_HD Vec2<T> operator*(T s, Vec2<T> a) {
  return {s * a.x, s * a.y};
}
template <typename T>
PYHANDPOSE_HD T dot(Vec2<T> a, Vec2<T> b) {
  return a.x * b.x + a.y * b.y;
}
template <typename T>
PYHANDPOSE_HD T cross(Vec2<T> a, Vec2<T> b) {
  return a.x * b.y - a.y * b.x;
}

// Point (x, y) of a row of them, as it is stored.
template <typename T>
PYHANDPOSE_HD Vec2<acc_t<T>> load_point(const T* row, int64_t point) {
  return {load(row[2 * point]), load(row[2 * point + 1])};
}

template <typename T>
PYHANDPOSE_HD void store_point(T* row, int64_t point, Vec2<acc_t<T>> value) {
  row[2 * point] = store<T>(value.x);
  row[2 * point + 1] = store<T>(value.y);
}

template <typename T>
struct Vec3 {
  T x, y, z;
};

template <typename T>
PYHANDPOSE_HD Vec3<T> operator+(Vec3<T> a, Vec3<T> b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <typename T>
PYHANDPOSE_HD Vec3<T> operator-(Vec3<T> a, Vec3<T> b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <typename T>
PYHANDPOSE_HD Vec3<T> operator*(T s, Vec3<T> a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <typename T>
PYHANDPOSE_HD T dot(Vec3<T> a, Vec3<T> b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <typename T>
PYHANDPOSE_HD Vec3<T> cross(Vec3<T> a, Vec3<T> b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

// select(mask, a, b) with one mask for all components.
template <typename Mask, typename T>
PYHANDPOSE_HD Vec2<T> select(Mask mask, Vec2<T> a, Vec2<T> b) {
  return {select(mask, a.x, b.x), select(mask, a.y, b.y)};
}
template <typename Mask, typename T>
PYHANDPOSE_HD Vec3<T> select(Mask mask, Vec3<T> a, Vec3<T> b) {
  return {select(mask, a.x, b.x), select(mask, a.y, b.y), select(mask, a.z, b.z)};
}

// Vector n of an array of them.
template <typename T>
PYHANDPOSE_HD Vec3<T> load_vector(const T* row, int64_t n) {
  return {row[3 * n], row[3 * n + 1], row[3 * n + 2]};
}
template <typename T>
PYHANDPOSE_HD void store_vector(T* row, int64_t n, Vec3<T> value) {
  row[3 * n] = value.x;
  row[3 * n + 1] = value.y;
  row[3 * n + 2] = value.z;
}

// 2x2 matrix, rows (a b) and (c d).
template <typename T>
struct Mat2 {
  T a, b, c, d;
};

template <typename T>
PYHANDPOSE_HD Vec2<T> operator*(Mat2<T> m, Vec2<T> v) {
  return {m.a * v.x + m.b * v.y, m.c * v.x + m.d * v.y};
}
template <typename T>
PYHANDPOSE_HD Mat2<T> transpose(Mat2<T> m) {
  return {m.a, m.c, m.b, m.d};
}
template <typename T>
PYHANDPOSE_HD T determinant(Mat2<T> m) {
  return m.a * m.d - m.b * m.c;
}
template <typename T>
PYHANDPOSE_HD Mat2<T> inverse(Mat2<T> m, T det) {
  const T r = T(1) / det;
  return {r * m.d, -r * m.b, -r * m.c, r * m.a};
}

}  // namespace pyhandpose
