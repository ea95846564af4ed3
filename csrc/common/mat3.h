// 3x3 matrices, held by columns, and 3x3 symmetric positive systems.
#pragma once

#include "vec.h"

namespace pyhandpose {

template <typename T>
struct Mat3 {
  Vec3<T> x, y, z;  // columns
};

template <typename T>
PYHANDPOSE_HD Vec3<T> zero_vector() {
  return {T(0), T(0), T(0)};
}
template <typename T>
PYHANDPOSE_HD Mat3<T> zero_matrix() {
  return {zero_vector<T>(), zero_vector<T>(), zero_vector<T>()};
}

// Matrices in memory are row-major.
template <typename T>
PYHANDPOSE_HD Mat3<T> load_matrix(const T* row) {
  return {{row[0], row[3], row[6]}, {row[1], row[4], row[7]}, {row[2], row[5], row[8]}};
}
template <typename T>
PYHANDPOSE_HD void store_matrix(T* row, const Mat3<T>& m) {
  store_vector(row, 0, {m.x.x, m.y.x, m.z.x});
  store_vector(row, 1, {m.x.y, m.y.y, m.z.y});
  store_vector(row, 2, {m.x.z, m.y.z, m.z.z});
}

template <typename T>
PYHANDPOSE_HD Mat3<T> operator+(Mat3<T> a, Mat3<T> b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <typename T>
PYHANDPOSE_HD Mat3<T> operator-(Mat3<T> a, Mat3<T> b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <typename T>
PYHANDPOSE_HD Mat3<T> operator*(T s, Mat3<T> a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <typename T>
PYHANDPOSE_HD Vec3<T> operator*(const Mat3<T>& m, Vec3<T> v) {
  return v.x * m.x + v.y * m.y + v.z * m.z;
}
template <typename T>
PYHANDPOSE_HD Mat3<T> operator*(const Mat3<T>& a, const Mat3<T>& b) {
  return {a * b.x, a * b.y, a * b.z};
}
template <typename Mask, typename T>
PYHANDPOSE_HD Mat3<T> select(Mask mask, const Mat3<T>& a, const Mat3<T>& b) {
  return {select(mask, a.x, b.x), select(mask, a.y, b.y), select(mask, a.z, b.z)};
}
// M^T v
template <typename T>
PYHANDPOSE_HD Vec3<T> transpose_times(const Mat3<T>& m, Vec3<T> v) {
  return {dot(m.x, v), dot(m.y, v), dot(m.z, v)};
}
// A^T B
template <typename T>
PYHANDPOSE_HD Mat3<T> transpose_times(const Mat3<T>& a, const Mat3<T>& b) {
  return {transpose_times(a, b.x), transpose_times(a, b.y), transpose_times(a, b.z)};
}
// a b^T
template <typename T>
PYHANDPOSE_HD Mat3<T> outer(Vec3<T> a, Vec3<T> b) {
  return {b.x * a, b.y * a, b.z * a};
}
// <A, B> = tr(A^T B)
template <typename T>
PYHANDPOSE_HD T inner(const Mat3<T>& a, const Mat3<T>& b) {
  return dot(a.x, b.x) + dot(a.y, b.y) + dot(a.z, b.z);
}
template <typename T>
PYHANDPOSE_HD T sum_of_entries(const Mat3<T>& m) {
  const Vec3<T> s = m.x + m.y + m.z;
  return s.x + s.y + s.z;
}

template <typename T>
PYHANDPOSE_HD T largest_magnitude(Vec3<T> a) {
  return maximum(maximum(absolute(a.x), absolute(a.y)), absolute(a.z));
}
// max |m_ij|
template <typename T>
PYHANDPOSE_HD T largest_entry(const Mat3<T>& m) {
  return maximum(maximum(largest_magnitude(m.x), largest_magnitude(m.y)), largest_magnitude(m.z));
}

// [a]_x, with [a]_x b = a x b
template <typename T>
PYHANDPOSE_HD Mat3<T> cross_matrix(Vec3<T> a) {
  return {{T(0), a.z, -a.y}, {-a.z, T(0), a.x}, {a.y, -a.x, T(0)}};
}
// vee(A - A^T), vee being the inverse of [.]_x
template <typename T>
PYHANDPOSE_HD Vec3<T> vee_antisymmetric(const Mat3<T>& m) {
  return {m.y.z - m.z.y, m.z.x - m.x.z, m.x.y - m.y.x};
}

// Solves (shift I - S) a = b with S = (P + P^T)/2, the matrix positive definite: LDL^T, whose
// error stays at rounding times the condition where the adjugate's determinant would lose its sign.
template <typename T>
PYHANDPOSE_HD Vec3<T> solve_shifted(T shift, const Mat3<T>& P, Vec3<T> b) {
  const T a00 = shift - P.x.x, a11 = shift - P.y.y, a22 = shift - P.z.z;
  const T a01 = T(-0.5) * (P.y.x + P.x.y);
  const T a02 = T(-0.5) * (P.z.x + P.x.z);
  const T a12 = T(-0.5) * (P.z.y + P.y.z);
  const T r0 = T(1) / a00;
  const T l10 = a01 * r0, l20 = a02 * r0;
  const T r1 = T(1) / (a11 - l10 * a01);
  const T m12 = a12 - l20 * a01;
  const T l21 = m12 * r1;
  const T r2 = T(1) / (a22 - l20 * a02 - l21 * m12);
  const T c1 = b.y - l10 * b.x;
  const T c2 = b.z - l20 * b.x - l21 * c1;
  const T z = c2 * r2;
  const T y = c1 * r1 - l21 * z;
  return {b.x * r0 - l10 * y - l20 * z, y, z};
}

}  // namespace pyhandpose
