// Singular value decomposition of a 3x3 matrix with both factors rotations.
//
//   M = U diag(s1, s2, s3) V^T,   U, V in SO(3),   s1 >= s2 >= |s3|,   sign(s3) = sign(det M)
//
// One-sided Jacobi: rotations from the right make the columns of M orthogonal; their lengths are
// the singular values. A fixed number of sweeps and selections instead of branches, so that T may
// be a vector of samples; the matrix is scaled by its largest entry first, so that only ratios of
// singular values matter. Only the two longer columns are used: the third pair of directions is
// their cross product, which makes both factors rotations for any rank and handedness.
#pragma once

#include "mat3.h"

namespace pyhandpose {

template <typename T>
struct Svd3 {
  Vec3<T> u1, u2, u3;
  Vec3<T> v1, v2, v3;
  T s1, s2, s3;
};

// s2 or |s3| up to kRankTolerance * eps * s1 is what rounding leaves of a zero.
constexpr int kRankTolerance = 16;

namespace svd3 {

// Makes the columns p and q of M orthogonal, and turns those of V along:
//   t = tan(angle) solves t^2 + 2 zeta t - 1 = 0, zeta = (|q|^2 - |p|^2) / 2 p.q, the smaller root.
template <typename T>
PYHANDPOSE_HD void rotate(Vec3<T>& p, Vec3<T>& q, Vec3<T>& vp, Vec3<T>& vq) {
  const T twice = T(2) * dot(p, q);
  const T difference = dot(q, q) - dot(p, p);
  const T length = square_root(difference * difference + twice * twice);
  const T denominator = absolute(difference) + length;
  const T signed_twice = select(difference < T(0), -twice, twice);
  const T t = select(denominator > T(0), signed_twice / denominator, T(0));
  const T c = T(1) / square_root(T(1) + t * t);
  const T s = c * t;
  const Vec3<T> p0 = p, vp0 = vp;
  p = c * p0 - s * q;
  q = s * p0 + c * q;
  vp = c * vp0 - s * vq;
  vq = s * vp0 + c * vq;
}

// Exchanges (p, vp) and (q, vq) where q is the longer.
template <typename T>
PYHANDPOSE_HD void order(Vec3<T>& p, Vec3<T>& q, Vec3<T>& vp, Vec3<T>& vq) {
  const auto swap = dot(q, q) > dot(p, p);
  const Vec3<T> p0 = p, vp0 = vp;
  p = select(swap, q, p0);
  q = select(swap, p0, q);
  vp = select(swap, vq, vp0);
  vq = select(swap, vp0, vq);
}

// a / |a|, or `otherwise` where |a| <= smallest.
template <typename T>
PYHANDPOSE_HD Vec3<T> normalise(Vec3<T> a, T smallest, Vec3<T> otherwise) {
  const T squared = dot(a, a);
  return select(squared > smallest * smallest, (T(1) / square_root(squared)) * a, otherwise);
}

// The unit vector normal to the unit vector a and to the axis that a is furthest from (the first
// of several).
template <typename T>
PYHANDPOSE_HD Vec3<T> any_normal(Vec3<T> a) {
  const T x = absolute(a.x), y = absolute(a.y), z = absolute(a.z);
  const auto use_x = (x <= y) & (x <= z);
  const auto use_y = y <= z;
  const Vec3<T> axis = select(use_x, Vec3<T>{T(1), T(0), T(0)},
                              select(use_y, Vec3<T>{T(0), T(1), T(0)}, {T(0), T(0), T(1)}));
  const Vec3<T> normal = cross(a, axis);
  return (T(1) / square_root(dot(normal, normal))) * normal;
}

}  // namespace svd3

// Where s2 is zero to rounding, the second directions are free: both are the common normal of u1
// and v1, which makes U V^T the minimal rotation from v1 to u1 (about svd3::any_normal if they are
// opposite). M = 0 gives U = V = I. A matrix that is not finite gives NaN or any rotation.
template <typename T>
PYHANDPOSE_HD Svd3<T> signed_svd(const Mat3<T>& m) {
  using S = element_t<T>;
  constexpr int kSweeps = 4;
  const T tolerance = T(kRankTolerance * Epsilon<S>::value);

  const T largest = largest_entry(m);
  const auto is_zero = largest < T(SmallestNormal<S>::value);
  const T scale = select(is_zero, T(0), T(1) / largest);
  const Mat3<T> scaled = scale * m;

  Mat3<T> b = scaled;
  Mat3<T> v{{T(1), T(0), T(0)}, {T(0), T(1), T(0)}, {T(0), T(0), T(1)}};
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    svd3::rotate(b.x, b.y, v.x, v.y);
    svd3::rotate(b.x, b.z, v.x, v.z);
    svd3::rotate(b.y, b.z, v.y, v.z);
  }
  svd3::order(b.x, b.y, v.x, v.y);
  svd3::order(b.x, b.z, v.x, v.z);
  svd3::order(b.y, b.z, v.y, v.z);

  Svd3<T> svd;
  svd.v1 = svd3::normalise(v.x, T(0), v.x);
  svd.u1 = svd3::normalise(b.x, T(0), svd.v1);
  svd.s1 = dot(svd.u1, b.x);

  const Vec3<T> axis = svd3::normalise(cross(svd.v1, svd.u1), tolerance, svd3::any_normal(svd.v1));
  const auto rank_one = dot(b.y, b.y) <= tolerance * tolerance * dot(b.x, b.x);
  const auto free = rank_one & !is_zero;
  const Vec3<T> v2 = select(free, axis, v.y);
  const Vec3<T> u2 = select(rank_one, v2, b.y);
  // Rounding leaves the short column b.y at an angle to b.x that is large for it.
  svd.v2 = svd3::normalise(v2 - dot(v2, svd.v1) * svd.v1, T(0), v2);
  svd.u2 = svd3::normalise(u2 - dot(u2, svd.u1) * svd.u1, T(0), u2);
  svd.u3 = cross(svd.u1, svd.u2);
  svd.v3 = cross(svd.v1, svd.v2);

  svd.s1 = largest * svd.s1;
  svd.s2 = largest * dot(svd.u2, scaled * svd.v2);
  svd.s3 = largest * dot(svd.u3, scaled * svd.v3);
  return svd;
}

}  // namespace pyhandpose
