// One pair of point sets: weighted moments, the similarity that aligns them, and its pull-back.
//
//   minimise  sum_n w_n |k R x_n + t - y_n|^2      x source, y target, ^ = centred by weighted mean
//   W = sum w;  sigma = sum w |x^|^2;  M = sum w y^ x^T
//
// Derivation in docs/maths/procrustes.md. The loops over a set's points read through a `Points`,
// which is how each backend holds them:
//
//   using Number = T;                      float or double, or Lanes of them (one sample a lane)
//   static constexpr bool kWeighted;
//   int64_t num_points;
//   Vec3<T> source(int64_t n) const;  Vec3<T> target(int64_t n) const;  T weight(int64_t n) const;
#pragma once

#include "../../common/svd3.h"

namespace pyhandpose {

// Points are centred in two steps, relative to one of the points and then to the mean of what is
// left, so that equal points give exactly zero and a distant origin costs no precision.
template <typename T>
struct Centre {
  Vec3<T> origin, offset;

  PYHANDPOSE_HD Vec3<T> operator()(Vec3<T> point) const { return (point - origin) - offset; }
  PYHANDPOSE_HD Vec3<T> mean() const { return origin + offset; }
};

// A point that has weight 0 and is not finite (a joint that was not observed) is put at the centre.
template <typename T>
struct CentredPair {
  Vec3<T> x, y;  // x^, y^
  T weight;
};

template <typename T>
struct Moments {
  Centre<T> source, target;
  T total;  // W; NaN where a weight is negative or not finite
  Mat3<T> M;
  T sigma;

  template <typename Points>
  PYHANDPOSE_HD CentredPair<T> centred(const Points& points, int64_t n) const {
    CentredPair<T> pair{source(points.source(n)), target(points.target(n)), points.weight(n)};
    if constexpr (Points::kWeighted) {
      const Vec3<T> sum = pair.x + pair.y;
      const auto absent = (pair.weight == T(0)) & !is_finite(sum.x + sum.y + sum.z);
      pair.x = select(absent, zero_vector<T>(), pair.x);
      pair.y = select(absent, zero_vector<T>(), pair.y);
    }
    return pair;
  }
};

// The origins: the first pair of points that has a weight, or zero.
template <typename T, typename Points>
PYHANDPOSE_HD void choose_origins(const Points& points, Moments<T>& moments) {
  moments.source.origin = moments.target.origin = zero_vector<T>();
  if constexpr (Points::kWeighted) {
    T found = T(0);
    for (int64_t n = 0; n < points.num_points; ++n) {
      const auto first = (points.weight(n) > T(0)) & (found == T(0));
      moments.source.origin = select(first, points.source(n), moments.source.origin);
      moments.target.origin = select(first, points.target(n), moments.target.origin);
      found = select(first, T(1), found);
    }
  } else if (points.num_points > 0) {
    moments.source.origin = points.source(0);
    moments.target.origin = points.target(0);
  }
}

template <typename T, typename Points>
PYHANDPOSE_HD void choose_centres(const Points& points, Moments<T>& moments) {
  choose_origins(points, moments);
  const Vec3<T> zero = zero_vector<T>();
  Vec3<T> sum_x = zero, sum_y = zero;
  if constexpr (Points::kWeighted) {
    moments.total = T(0);
    for (int64_t n = 0; n < points.num_points; ++n) {
      const T w = points.weight(n);
      const auto none = w == T(0);
      sum_x = sum_x + select(none, zero, w * (points.source(n) - moments.source.origin));
      sum_y = sum_y + select(none, zero, w * (points.target(n) - moments.target.origin));
      moments.total += select((w >= T(0)) & is_finite(w), w, quiet_nan<T>());
    }
  } else {
    for (int64_t n = 0; n < points.num_points; ++n) {
      sum_x = sum_x + (points.source(n) - moments.source.origin);
      sum_y = sum_y + (points.target(n) - moments.target.origin);
    }
    moments.total = T(static_cast<element_t<T>>(points.num_points));
  }
  const T inverse = select(moments.total == T(0), T(0), T(1) / moments.total);
  moments.source.offset = inverse * sum_x;
  moments.target.offset = inverse * sum_y;
}

template <typename Points>
PYHANDPOSE_HD Moments<typename Points::Number> gather_moments(const Points& points) {
  using T = typename Points::Number;
  Moments<T> moments;
  choose_centres(points, moments);
  moments.M = zero_matrix<T>();
  moments.sigma = T(0);
  for (int64_t n = 0; n < points.num_points; ++n) {
    const CentredPair<T> pair = moments.centred(points, n);
    const Vec3<T> weighted = Points::kWeighted ? pair.weight * pair.x : pair.x;
    moments.M = moments.M + outer(pair.y, weighted);
    moments.sigma += dot(pair.x, weighted);
  }
  return moments;
}

template <typename T>
struct SimilarityFit {
  Mat3<T> R;
  T k;
  Vec3<T> t;
  T conditioning;  // (s2 + d s3) / tr(S), S = sym(R^T M), d the sign of the third direction kept
};

// R = [u1 u2 f u3][v1 v2 v3]^T with both frames right-handed: det R = f. Everything degenerate is
// decided by values that are exactly zero there, or in signed_svd.
template <typename T>
PYHANDPOSE_HD SimilarityFit<T> fit(const Moments<T>& moments, bool with_scale,
                                   bool allow_reflection) {
  const Svd3<T> svd = signed_svd(moments.M);
  T f = T(1);
  if (allow_reflection) {
    const T tolerance = T(kRankTolerance * Epsilon<element_t<T>>::value);
    f = select(svd.s3 < -tolerance * svd.s1, T(-1), T(1));
  }
  const T s3 = f * svd.s3;
  const T trace = svd.s1 + svd.s2 + s3;
  const Vec3<T> mu_x = moments.source.mean(), mu_y = moments.target.mean();
  // Zero, or NaN where anything is not finite.
  const Vec3<T> means = mu_x + mu_y;
  const T poison = T(0) * (sum_of_entries(moments.M) + moments.sigma + moments.total + means.x +
                           means.y + means.z);

  SimilarityFit<T> fit;
  const Vec3<T> nan_or_zero{poison, poison, poison};
  fit.R = outer(svd.u1, svd.v1) + outer(svd.u2, svd.v2) + outer(f * svd.u3, svd.v3) +
          Mat3<T>{nan_or_zero, nan_or_zero, nan_or_zero};
  fit.k = poison + (with_scale ? select(moments.sigma == T(0), T(1), trace / moments.sigma) : T(1));
  fit.t = mu_y - fit.k * (fit.R * mu_x);
  fit.conditioning = poison + select(trace == T(0), T(0), (svd.s2 + s3) / trace);
  return fit;
}

template <typename T>
PYHANDPOSE_HD Vec3<T> align(const SimilarityFit<T>& fit, Vec3<T> x) {
  return fit.k * (fit.R * x) + fit.t;
}

// Backward. Upstream gR, gk, gt, and ga for every aligned point:
//
//   gt' = gt + sum ga;  gR' = gR + k (sum ga x^^T - gt mu_x^T);  gk' = gk + sum ga.R x^ - gt.R mu_x
//   S = sym(R^T M);  v = vee(R^T gR' - gR'^T R);  H = (1 + max(0, e0 - conditioning)) tr(S) I - S
//   gM = R [H^-1 v]_x + (gk'/sigma) R;  gsigma = -gk' k / sigma     (no gk' where the scale is 1)
//   gx_n = w_n (gM^T y^_n + 2 gsigma x^_n) + k R^T ga_n - (w_n/W) k R^T gt'
//   gy_n = w_n gM x^_n + (w_n/W) gt'
//   gw_n = y^_n^T gM x^_n + gsigma |x^_n|^2 + (y^_n.gt' - k x^_n.R^T gt')/W
//
// tr(S) = 0: gM = 0; W = 0: all are zero.
template <typename T>
struct SimilarityGradient {
  Mat3<T> R;
  T k;
  Vec3<T> t;
  Vec3<T> aligned = zero_vector<T>();        // sum ga
  Mat3<T> aligned_cross = zero_matrix<T>();  // sum ga x^^T

  PYHANDPOSE_HD void absorb(Vec3<T> ga, Vec3<T> x) {
    aligned = aligned + ga;
    aligned_cross = aligned_cross + outer(ga, x);
  }
};

template <typename T>
struct PairGradient {
  Vec3<T> x, y;
  T weight;
};

// The smallest conditioning that H admits: the rotation is undetermined below it.
template <typename T>
struct ConditioningFloor;
template <>
struct ConditioningFloor<float> {
  static constexpr float value = 1e-6f;
};
template <>
struct ConditioningFloor<double> {
  static constexpr double value = 1e-13;
};

template <typename T>
struct SimilarityPullBack {
  Mat3<T> R, gM;
  T k, gsigma;
  Vec3<T> gt_mean;  // gt' / W
  Vec3<T> gx_mean;  // k R^T gt' / W

  // R, k and conditioning are the forward's.
  PYHANDPOSE_HD SimilarityPullBack(const Moments<T>& moments, const Mat3<T>& rotation, T scale,
                                   T conditioning, const SimilarityGradient<T>& upstream,
                                   bool with_scale)
      : R(rotation) {
    const auto no_weight = moments.total == T(0);
    const T inverse_total = select(no_weight, T(0), T(1) / moments.total);
    k = select(no_weight, T(0), scale);

    const Vec3<T> mu_x = moments.source.mean();
    const Vec3<T> gt = upstream.t + upstream.aligned;
    const Mat3<T> gR = upstream.R + k * (upstream.aligned_cross - outer(upstream.t, mu_x));
    const T gk = upstream.k + inner(R, upstream.aligned_cross) - dot(upstream.t, R * mu_x);
    const auto no_spread = moments.sigma == T(0);
    const T gk_sigma = with_scale ? select(no_spread, T(0), gk / moments.sigma) : T(0);

    const Mat3<T> P = transpose_times(R, moments.M);  // S = sym(P)
    const T trace = P.x.x + P.y.y + P.z.z;
    const auto no_trace = trace < T(SmallestNormal<element_t<T>>::value);
    const T inverse_trace = select(no_trace, T(0), T(1) / trace);
    const T floor = T(ConditioningFloor<element_t<T>>::value);
    const T shift = T(1) + maximum(T(0), floor - conditioning);
    const Vec3<T> v = vee_antisymmetric(transpose_times(R, gR));
    const Vec3<T> omega = inverse_trace * solve_shifted(shift, inverse_trace * P, v);
    const T live = select(no_trace | no_weight, T(0), T(1));
    gM = live * (R * cross_matrix(omega) + gk_sigma * R);
    gsigma = -gk_sigma * k;
    gt_mean = inverse_total * gt;
    gx_mean = k * transpose_times(R, gt_mean);
  }

  // ga is the gradient of the aligned point n, or zero.
  PYHANDPOSE_HD PairGradient<T> operator()(const CentredPair<T>& pair, Vec3<T> ga) const {
    const Vec3<T> gM_x = gM * pair.x;
    const Vec3<T> along_x = transpose_times(gM, pair.y) + (T(2) * gsigma) * pair.x - gx_mean;
    return {pair.weight * along_x + k * transpose_times(R, ga), pair.weight * (gM_x + gt_mean),
            dot(pair.y, gM_x) + gsigma * dot(pair.x, pair.x) + dot(pair.y, gt_mean) -
                dot(pair.x, gx_mean)};
  }
};

}  // namespace pyhandpose
