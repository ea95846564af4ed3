// One row of equivariant NT-Xent: y = latent_affine(z), u = y / |y|, and back.
//
//   y_p = B (gain z_p - shift - c) + c                         (latent_affine_math.h)
//   u = y / |y|,   dL/dy = (dL/du - u <u, dL/du>) / |y|        (nt_xent_math.h)
#pragma once

#include "../latent_affine/latent_affine_math.h"
#include "../nt_xent/nt_xent_math.h"
#include "equivariant_nt_xent.h"

namespace pyhandpose {

// sum_p |y_p|^2, in double precision, point by point.
struct MovedNorm {
  double sum_squares = 0.0;

  template <typename T>
  PYHANDPOSE_HD void absorb(Vec2<T> y) {
    sum_squares += static_cast<double>(y.x) * static_cast<double>(y.x) +
                   static_cast<double>(y.y) * static_cast<double>(y.y);
  }
};

// A point of u, written to its panel.
template <typename T>
PYHANDPOSE_HD void store_unit_point(T* unit, int64_t point, Vec2<T> y, double inverse_norm) {
  unit[2 * point * PanelShape::kRows] = static_cast<T>(y.x * inverse_norm);
  unit[(2 * point + 1) * PanelShape::kRows] = static_cast<T>(y.y * inverse_norm);
}

// dL/dy at a point: what latent_affine's pull-back takes as upstream.
template <typename T>
PYHANDPOSE_HD Vec2<T> moved_gradient(const RowGradient<T>& row, int64_t point) {
  return {row(2 * point), row(2 * point + 1)};
}

}  // namespace pyhandpose
