// One 2.5D pose: rays, the quadratic of the reference bone, its roots, and the way back.
//
//   x_j = (X_j, Y_j), (X_j, Y_j, 1) = K^-1 (u_j, v_j, 1);   d = x_n - x_m,  e = z_n x_n - z_m x_m,
//   dz = z_n - z_m:   |Z d + e|^2 + dz^2 = 1,  that is  a Z^2 + b Z + c = 0 with
//   a = d.d,  b = 2 d.e,  c = e.e + dz^2 - 1                  (000 eq. 3.7-3.10, sign corrected)
//   disc/4 = a (1 - dz^2) - dz^2 (d x x_m)^2                            (stable: no b^2 - 4ac)
//   J_j = s (Z + z_j) (X_j, Y_j, 1)
//
// Backward: dZ = G_d . dd + G_e . de + G_dz ddz (DepthSlope), everything else is the product rule.
//
// T is float or double, or Lanes of them (one sample a lane): nothing branches on a number.
#pragma once

#include "../../common/mat3.h"
#include "root_depth.h"

namespace pyhandpose {

// K = (fx, skew, cx; 0, fy, cy; 0, 0, 1) and its inverse in closed form.
template <typename T>
struct Intrinsics {
  T skew, cx, cy, inv_fx, inv_fy;
  mask_t<T> usable;  // of that form, finite focal lengths (a zero one shows in the rays)

  PYHANDPOSE_HD explicit Intrinsics(const Mat3<T>& K)
      : skew(K.y.x),
        cx(K.z.x),
        cy(K.z.y),
        inv_fx(T(1) / K.x.x),
        inv_fy(T(1) / K.y.y),
        usable(is_finite(K.x.x) & is_finite(K.y.y) & (K.x.y == T(0)) & (K.x.z == T(0)) &
               (K.y.z == T(0)) & (K.z.z == T(1))) {}

  // From a difference of image points to the difference of their rays.
  PYHANDPOSE_HD Vec2<T> direction(T du, T dv) const {
    const T y = dv * inv_fy;
    return {(du - skew * y) * inv_fx, y};
  }
  PYHANDPOSE_HD Vec2<T> ray(T u, T v) const { return direction(u - cx, v - cy); }

  // Backward of direction and ray: from the gradient of (X, Y) to that of (u, v).
  PYHANDPOSE_HD Vec2<T> pull_back(Vec2<T> gx) const {
    const T gu = gx.x * inv_fx;
    return {gu, (gx.y - gu * skew) * inv_fy};
  }
};

// Gradient of the five parameters, summed over rays: x = K^-1 (u, v, 1), guv the gradient of (u,
// v).
template <typename T>
struct IntrinsicsGradient {
  T fx = T(0), skew = T(0), cx = T(0), fy = T(0), cy = T(0);

  PYHANDPOSE_HD void absorb(Vec2<T> guv, Vec2<T> x) {
    fx -= guv.x * x.x;
    skew -= guv.x * x.y;
    cx -= guv.x;
    fy -= guv.y * x.y;
    cy -= guv.y;
  }
  PYHANDPOSE_HD Mat3<T> matrix() const {
    return {{fx, T(0), T(0)}, {skew, fy, T(0)}, {cx, cy, T(0)}};
  }
};

template <typename T>
struct ReferenceBone {
  Vec2<T> x_n, x_m, d, e;
  T z_n, z_m, dz;

  // The ray difference is taken in pixels, where it is exact, and e without subtracting products.
  PYHANDPOSE_HD ReferenceBone(const Intrinsics<T>& K, Vec3<T> n, Vec3<T> m)
      : x_n(K.ray(n.x, n.y)),
        x_m(K.ray(m.x, m.y)),
        d(K.direction(n.x - m.x, n.y - m.y)),
        z_n(n.z),
        z_m(m.z),
        dz(n.z - m.z) {
    e = z_n * d + dz * x_m;
  }

  // The rays agree to within their rounding: the bone says nothing of the depth.
  PYHANDPOSE_HD mask_t<T> undetermined() const {
    constexpr element_t<T> kEpsilon = Epsilon<element_t<T>>::value;
    const T tolerance = T(4 * kEpsilon * kEpsilon);
    return !(dot(d, d) > tolerance * (T(2) + dot(x_n, x_n) + dot(x_m, x_m)));
  }
};

template <typename T>
struct DepthRoots {
  T depth, other;  // Z+ and Z-, bone lengths
  mask_t<T> clamped;
};

// Derivatives of Z+ by d, e and dz.
template <typename T>
struct DepthSlope {
  Vec2<T> d, e;
  T dz;
};

// Stable: roots q/a and c/q with q = -(t + sign(t) h), t = b/2, h^2 = disc/4.
template <typename T>
PYHANDPOSE_HD T quarter_discriminant(const ReferenceBone<T>& bone) {
  const T slant = bone.dz * cross(bone.d, bone.x_m);
  return dot(bone.d, bone.d) * ((T(1) - bone.dz) * (T(1) + bone.dz)) - slant * slant;
}

// q = |t| + h, so that nothing cancels; where clamped h = 0, and both roots are -t/a.
template <typename T>
PYHANDPOSE_HD DepthRoots<T> stable_roots(const ReferenceBone<T>& bone) {
  const T a = dot(bone.d, bone.d), t = dot(bone.d, bone.e);
  const T quarter = quarter_discriminant(bone);
  const mask_t<T> clamped = !(quarter > T(0)), negative = t < T(0);
  const T q = absolute(t) + square_root(select(clamped, T(0), quarter));
  const T c = dot(bone.e, bone.e) - (T(1) - bone.dz) * (T(1) + bone.dz);
  const T by_a = select(negative, q / a, -q / a);
  const T by_c = select(clamped, by_a, select(negative, c / q, -c / q));
  const T larger = select(negative, by_a, by_c), smaller = select(negative, by_c, by_a);
  // rounding may swap a near pair
  return {larger, select(smaller > larger, larger, smaller), clamped};
}

// F = |Z d + e|^2 + dz^2 - 1 = 0 with beta = Z d + e and dF/dZ = 2 beta.d = 2 h; where the
// discriminant was clamped, of Z = -t/a instead.
template <typename T>
PYHANDPOSE_HD DepthSlope<T> stable_slope(const ReferenceBone<T>& bone, const DepthRoots<T>& roots) {
  const T Z = roots.depth;
  const T quarter = select(roots.clamped, T(0), quarter_discriminant(bone));
  const T r = T(-1) / select(roots.clamped, dot(bone.d, bone.d), square_root(quarter));
  const Vec2<T> beta = Z * bone.d + bone.e;
  const Vec2<T> by_d = select(roots.clamped, beta + Z * bone.d, Z * beta);
  const Vec2<T> by_e = select(roots.clamped, bone.d, beta);
  return {r * by_d, r * by_e, select(roots.clamped, T(0), r * bone.dz)};
}

// Published: Z = (-b +- sqrt(D)) / (2 A) with D = max(b^2 - 4ac, floor), A = max(a, floor).
template <typename T>
struct PublishedQuadratic {
  T a, b, c, A, D, root;
  mask_t<T> clamped_a, clamped_disc;

  PYHANDPOSE_HD PublishedQuadratic(const ReferenceBone<T>& bone, T floor)
      : a(dot(bone.d, bone.d)),
        b(T(2) * dot(bone.d, bone.e)),
        c(dot(bone.e, bone.e) + bone.dz * bone.dz - T(1)) {
    const T disc = b * b - T(4) * a * c;
    clamped_a = a < floor;
    clamped_disc = disc < floor;
    A = select(clamped_a, floor, a);
    D = select(clamped_disc, floor, disc);
    root = square_root(D);
  }
  PYHANDPOSE_HD DepthRoots<T> roots() const {
    const mask_t<T> clamped = clamped_a | clamped_disc;
    return {(root - b) / (T(2) * A), -(root + b) / (T(2) * A), clamped};
  }
  // A clamped quantity is a constant.
  PYHANDPOSE_HD DepthSlope<T> slope(const ReferenceBone<T>& bone) const {
    const T by_disc = select(clamped_disc, T(0), T(1) / (T(4) * A * root));
    const T by_A = select(clamped_a, T(0), (root - b) / (T(2) * A * A));
    const T by_a = -T(4) * c * by_disc - by_A;
    const T by_b = T(2) * b * by_disc - T(1) / (T(2) * A);
    const T by_c = -T(4) * a * by_disc;
    return {(T(2) * by_a) * bone.d + (T(2) * by_b) * bone.e,
            (T(2) * by_b) * bone.d + (T(2) * by_c) * bone.e, T(2) * by_c * bone.dz};
  }
};

constexpr double kDataFloor = 1e-6, kModelFloor = 1e-8;
constexpr double kModelNearest = 4, kModelFarthest = 50;

template <typename T>
PYHANDPOSE_HD DepthRoots<T> depth_roots(const ReferenceBone<T>& bone, RootDepthMode mode) {
  if (mode == RootDepthMode::kStable) return stable_roots(bone);
  if (mode == RootDepthMode::kPublishedData)
    return PublishedQuadratic<T>(bone, T(kDataFloor)).roots();
  DepthRoots<T> roots = PublishedQuadratic<T>(bone, T(kModelFloor)).roots();
  const T nearest = T(kModelNearest), farthest = T(kModelFarthest);
  const T limit =
      select(roots.depth < nearest, nearest, select(roots.depth > farthest, farthest, roots.depth));
  const mask_t<T> clamped = roots.clamped | !(limit == roots.depth);
  return {limit, select(roots.other > limit, limit, roots.other), clamped};
}

template <typename T>
PYHANDPOSE_HD DepthSlope<T> depth_slope(const ReferenceBone<T>& bone, const DepthRoots<T>& roots,
                                        RootDepthMode mode) {
  if (mode == RootDepthMode::kStable) return stable_slope(bone, roots);
  if (mode == RootDepthMode::kPublishedData)
    return PublishedQuadratic<T>(bone, T(kDataFloor)).slope(bone);
  return {{T(0), T(0)}, {T(0), T(0)}, T(0)};  // the published model takes its depth as a constant
}

template <typename T>
struct LiftedSample {
  Intrinsics<T> K;
  ReferenceBone<T> bone;
  DepthRoots<T> roots;
  T scale;

  // Of K, the joints n and m of the reference bone (u, v, z) and the scale.
  PYHANDPOSE_HD LiftedSample(const Mat3<T>& matrix, Vec3<T> n, Vec3<T> m, T scale,
                             RootDepthMode mode)
      : K(matrix), bone(K, n, m), roots(depth_roots(bone, mode)), scale(scale) {}

  PYHANDPOSE_HD Vec3<T> lift(Vec2<T> x, T z) const {
    const T sW = scale * (roots.depth + z);
    return {sW * x.x, sW * x.y, sW};
  }
  // Upstream g of the lifted joint to (u, v, z), the depth held fixed.
  PYHANDPOSE_HD Vec3<T> pull_back(Vec2<T> x, T z, Vec3<T> g) const {
    const T sW = scale * (roots.depth + z);
    const Vec2<T> guv = K.pull_back({sW * g.x, sW * g.y});
    return {guv.x, guv.y, scale * (g.x * x.x + g.y * x.y + g.z)};
  }
};

// What the joints of a sample say about its roots, gathered one joint after another.
template <typename T>
struct JointCensus {
  mask_t<T> broken{}, behind{}, other_behind{};

  PYHANDPOSE_HD void absorb(Vec2<T> x, T z, const DepthRoots<T>& roots) {
    broken = broken | !(is_finite(x.x) & is_finite(x.y) & is_finite(z));
    behind = behind | !(roots.depth + z > T(0));
    other_behind = other_behind | !(roots.other + z > T(0));
  }
};

template <typename T>
struct SampleVerdict {
  T status;           // 0 ok, 1 ambiguous, 2 clamped, 3 degenerate
  mask_t<T> refused;  // the outputs are NaN
};

template <typename T>
PYHANDPOSE_HD SampleVerdict<T> judge(const LiftedSample<T>& sample, const JointCensus<T>& census,
                                     RootDepthMode mode) {
  mask_t<T> refused = census.broken | !sample.K.usable | !is_finite(sample.scale) |
                      !is_finite(sample.roots.depth) | !is_finite(sample.roots.other);
  // The published code goes on with a joint behind the camera, and so does its gradient.
  if (mode == RootDepthMode::kStable)
    refused = refused | census.behind | sample.bone.undetermined();
  const T in_front = select(sample.roots.clamped, T(2), select(census.other_behind, T(0), T(1)));
  return {select(refused | census.behind, T(3), in_front), refused};
}

// Backward of a sample: absorb every joint (upstream g of J_j), which returns the joint's own
// gradient of (u, v, z); then the reference bone's two joints receive what flows through the depth.
// All are zero for a refused sample.
template <typename T>
struct LiftPullBack {
  mask_t<T> refused;
  T depth = T(0);  // sum of s g.(X, Y, 1) plus the upstream gradient of Z
  T scale = T(0);  // sum of W g.(X, Y, 1)
  IntrinsicsGradient<T> K;

  PYHANDPOSE_HD explicit LiftPullBack(mask_t<T> refused) : refused(refused) {}

  PYHANDPOSE_HD Vec3<T> absorb(const LiftedSample<T>& sample, Vec2<T> x, T z, Vec3<T> g) {
    const Vec3<T> own = sample.pull_back(x, z, g);
    depth += own.z;
    scale += (sample.roots.depth + z) * (g.x * x.x + g.y * x.y + g.z);
    K.absorb({own.x, own.y}, x);
    return select(refused, zero_vector<T>(), own);
  }

  PYHANDPOSE_HD void absorb_bone(const LiftedSample<T>& sample, RootDepthMode mode, Vec3<T>* at_n,
                                 Vec3<T>* at_m) {
    const ReferenceBone<T>& bone = sample.bone;
    const DepthSlope<T> slope = depth_slope(bone, sample.roots, mode);
    const Vec2<T> guv_n = sample.K.pull_back(depth * (slope.d + bone.z_n * slope.e));
    const Vec2<T> guv_m = sample.K.pull_back((-depth) * (slope.d + bone.z_m * slope.e));
    K.absorb(guv_n, bone.x_n);
    K.absorb(guv_m, bone.x_m);
    const Vec3<T> g_n{guv_n.x, guv_n.y, depth * (dot(slope.e, bone.x_n) + slope.dz)};
    const Vec3<T> g_m{guv_m.x, guv_m.y, -depth * (dot(slope.e, bone.x_m) + slope.dz)};
    *at_n = select(refused, zero_vector<T>(), g_n);
    *at_m = select(refused, zero_vector<T>(), g_m);
  }

  PYHANDPOSE_HD T grad_scale() const { return select(refused, T(0), scale); }
  PYHANDPOSE_HD Mat3<T> grad_intrinsics() const {
    return select(refused, zero_matrix<T>(), K.matrix());
  }
};

}  // namespace pyhandpose
