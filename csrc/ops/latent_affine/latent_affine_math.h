// One latent of P points: statistics, map and pull-back for each convention.
//
//   y = gain z;  q = y - shift;  out = B (q - c) + c            (001 eq. 4, 000 eq. 4.10)
//
//   paper     gain 1,      shift v L with L = max - min of all 2P numbers (differentiated), c = 0
//   official  gain 1/|z|,  shift (v_x L_x, v_y L_y) of y,   c = mean of q  (L, c constants)
//   direct    gain 1,      shift v,                                        c = 0
//
// B = A^-1; `official` takes R^-1, the rotation in A alone. Flat indices: 2p for x, 2p+1 for y.
//
// T is float or double, or Lanes of them (one point a lane); the map is made from numbers.
#pragma once

#include "../../common/vec.h"
#include "latent_affine.h"

namespace pyhandpose {

// Largest and smallest number seen and where; a tie goes to the lowest index, NaN wins over all.
// Before any was seen they are beyond all numbers, at the index of the first that will be.
template <typename T>
struct Range {
  T max, min;
  index_t<T> argmax, argmin;

  Range() = default;
  PYHANDPOSE_HD explicit Range(index_t<T> first)
      : max(T(-__builtin_inff())), min(T(__builtin_inff())), argmax(first), argmin(first) {}

  // In ascending order of the index.
  PYHANDPOSE_HD void absorb(T value, index_t<T> index) {
    const mask_t<T> above = beyond(value <= max, max), below = beyond(value >= min, min);
    max = select(above, value, max);
    argmax = select(above, index, argmax);
    min = select(below, value, min);
    argmin = select(below, index, argmin);
  }

  PYHANDPOSE_HD void merge(const Range& other) {
    const mask_t<T> above = beyond(other.max <= max, max);
    const mask_t<T> below = beyond(other.min >= min, min);
    const mask_t<T> first_max = tie(other.max, max) & (other.argmax < argmax);
    const mask_t<T> first_min = tie(other.min, min) & (other.argmin < argmin);
    argmax = select(above | first_max, other.argmax, argmax);
    argmin = select(below | first_min, other.argmin, argmin);
    max = select(above, other.max, max);
    min = select(below, other.min, min);
  }

  PYHANDPOSE_HD T extent() const { return max - min; }

 private:
  // Whether another number lies beyond ours, `within` being the comparison that says it does not:
  // NaN, which is within nothing, lies beyond all but NaN.
  PYHANDPOSE_HD static mask_t<T> beyond(mask_t<T> within, T ours) {
    return (ours == ours) & !within;
  }
  PYHANDPOSE_HD static mask_t<T> tie(T theirs, T ours) {
    return (theirs == ours) | !((theirs == theirs) | (ours == ours));
  }
};

// y = gain z, out = B (y - shift - c) + c
template <typename T>
struct LatentMap {
  Mat2<T> B;
  Vec2<T> shift, centre, v;
  T gain;

  PYHANDPOSE_HD Vec2<T> operator()(Vec2<T> z) const {
    return B * (gain * z - shift - centre) + centre;
  }
};

template <typename T>
PYHANDPOSE_HD Mat2<T> nan_matrix() {
  const T nan = quiet_nan<T>();
  return {nan, nan, nan, nan};
}

// A^-1, or NaN where |det A| <= eps or an entry of the affine is not finite.
template <typename T>
PYHANDPOSE_HD Mat2<T> inverse_or_nan(const T* affine) {
  const Mat2<T> A{affine[0], affine[1], affine[3], affine[4]};
  const T det = determinant(A);
  const T sum = affine[0] + affine[1] + affine[2] + affine[3] + affine[4] + affine[5];
  const bool usable = absolute(det) > Epsilon<T>::value && is_finite(det) && is_finite(sum);
  return usable ? inverse(A, det) : nan_matrix<T>();
}

// R^-1 for the rotation by atan2(A01 - A10, A00 + A11); NaN as above.
template <typename T>
PYHANDPOSE_HD Mat2<T> inverse_rotation_or_nan(const T* affine) {
  const Mat2<T> invertible = inverse_or_nan(affine);
  if (invertible.a != invertible.a) return invertible;
  const T c = affine[0] + affine[4], s = affine[1] - affine[3];
  const T norm = square_root(c * c + s * s);
  if (norm == T(0)) return {T(1), T(0), T(0), T(1)};  // atan2(0, 0) = 0
  return {c / norm, -s / norm, s / norm, c / norm};
}

// Of the points that are absorbed, in ascending order from `first` on.
template <Convention C, typename T>
struct LatentStatistics;

template <typename T>
struct LatentStatistics<Convention::kDirect, T> {
  LatentStatistics() = default;
  PYHANDPOSE_HD explicit LatentStatistics(index_t<T>) {}
  PYHANDPOSE_HD void absorb(Vec2<T>, index_t<T>) {}
  PYHANDPOSE_HD void merge(const LatentStatistics&) {}
  PYHANDPOSE_HD LatentMap<T> map(const T* affine, int64_t) const {
    const Vec2<T> v{affine[2], affine[5]};
    return {inverse_or_nan(affine), v, {T(0), T(0)}, v, T(1)};
  }
};

template <typename T>
struct LatentStatistics<Convention::kPaper, T> {
  Range<T> range;

  LatentStatistics() = default;
  PYHANDPOSE_HD explicit LatentStatistics(index_t<T> first) : range(first + first) {}

  PYHANDPOSE_HD void absorb(Vec2<T> z, index_t<T> point) {
    range.absorb(z.x, point + point);
    range.absorb(z.y, point + point + index_t<T>(1));
  }
  PYHANDPOSE_HD void merge(const LatentStatistics& other) { range.merge(other.range); }
  PYHANDPOSE_HD LatentMap<T> map(const T* affine, int64_t) const {
    const Vec2<T> v{affine[2], affine[5]};
    return {inverse_or_nan(affine), range.extent() * v, {T(0), T(0)}, v, T(1)};
  }
};

template <typename T>
struct LatentStatistics<Convention::kOfficial, T> {
  Range<T> range_x, range_y;
  Vec2<T> sum;
  T sum_squares;

  LatentStatistics() = default;
  PYHANDPOSE_HD explicit LatentStatistics(index_t<T> first)
      : range_x(first), range_y(first), sum{T(0), T(0)}, sum_squares(T(0)) {}

  PYHANDPOSE_HD void absorb(Vec2<T> z, index_t<T> point) {
    range_x.absorb(z.x, point);
    range_y.absorb(z.y, point);
    sum = sum + z;
    sum_squares += dot(z, z);
  }
  PYHANDPOSE_HD void merge(const LatentStatistics& other) {
    range_x.merge(other.range_x);
    range_y.merge(other.range_y);
    sum = sum + other.sum;
    sum_squares += other.sum_squares;
  }
  PYHANDPOSE_HD LatentMap<T> map(const T* affine, int64_t num_points) const {
    const T norm = square_root(sum_squares);
    const T gain = T(1) / (norm > T(1e-12) || norm != norm ? norm : T(1e-12));
    const Vec2<T> v{affine[2], affine[5]};
    const Vec2<T> shift{v.x * gain * range_x.extent(), v.y * gain * range_y.extent()};
    const Vec2<T> centre = (gain / T(num_points)) * sum - shift;
    return {inverse_rotation_or_nan(affine), shift, centre, v, gain};
  }
};

// Backward, upstream g: the gradient with respect to z, point by point after one pass of absorb.
//
//   h_p = B^T g_p,  H = sum h_p                                   gz_p = h_p      (direct)
//   d out / d L = -B v for every point, L = z[argmax] - z[argmin]:
//       gz[argmax] -= v.H,  gz[argmin] += v.H                                     (paper)
//   y = z / |z| with |z| differentiated:  gz_p = (h_p - y_p sum <y,h>) / |z|      (official)
//   |z| <= 1e-12: zero gradient                                                   (official)
template <typename T>
struct PullBackSums {
  Vec2<T> g;  // sum g, so that H = B^T sum g
  T radial;   // sum <y,h>

  PYHANDPOSE_HD void merge(const PullBackSums& other) {
    g = g + other.g;
    radial += other.radial;
  }
};

template <Convention C, typename T>
struct LatentPullBack {
  static constexpr bool kSums = C != Convention::kDirect;  // whether absorb has anything to do

  LatentMap<T> map;
  [[no_unique_address]] LatentStatistics<C, T> statistics;
  PullBackSums<T> sums{{T(0), T(0)}, T(0)};

  PYHANDPOSE_HD void absorb(Vec2<T> z, Vec2<T> g) {
    if constexpr (C == Convention::kPaper) sums.g = sums.g + g;
    if constexpr (C == Convention::kOfficial)
      sums.radial += map.gain * dot(z, transpose(map.B) * g);
  }

  PYHANDPOSE_HD Vec2<T> operator()(Vec2<T> z, Vec2<T> g, index_t<T> point) const {
    Vec2<T> gz = transpose(map.B) * g;
    if constexpr (C == Convention::kPaper) {
      const T along = dot(map.v, transpose(map.B) * sums.g);
      const Range<T>& range = statistics.range;
      const index_t<T> x = point + point, y = x + index_t<T>(1);
      gz.x = gz.x - select(range.argmax == x, along, T(0)) + select(range.argmin == x, along, T(0));
      gz.y = gz.y - select(range.argmax == y, along, T(0)) + select(range.argmin == y, along, T(0));
    }
    if constexpr (C == Convention::kOfficial) {
      gz = map.gain * (gz - (sums.radial * map.gain) * z);
      gz = select(statistics.sum_squares <= T(1e-24), {T(0), T(0)}, gz);
    }
    return gz;
  }
};

}  // namespace pyhandpose
