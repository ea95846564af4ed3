// One row, and one pair of rows, of NT-Xent. p is i's positive, its other view:
//
//   u_i = z_i / |z_i|,  s_ij = u_i.u_j / tau,  l_i = log sum_{k != i} exp(s_ik)
//   loss = 1/M sum_i (l_i - s_ip)                                          (001 eq. 1)
//
//   dL/du_i = 1/(M tau) (sum_{j != i, p} G_ij u_j + c_i u_p)
//   dL/dz_i = (1 - u_i u_i^T) dL/du_i / |z_i|
//   G_ij = exp(s_ij - l_i) + exp(s_ij - l_j)
//   c_i = (exp(s_ip - l_i) - 1) + (exp(s_ip - l_p) - 1)
//
// Positives are kept out of the streamed sums and products: s_ip is taken in double precision, and
// near-aligned views do not lose c_i to cancellation.
//
// |cos| <= 1 bounds every score by 1/tau. Above kSmallestShiftedTemperature one constant shift
// therefore serves all rows, G_ij = exp(s_ij - 1/tau) (r_i + r_j) with r_i = exp(1/tau - l_i), and
// one exponential a pair. Below it, exp(-2/tau) leaves float's range: the shift is each row's own.
#pragma once

#include "nt_xent.h"

namespace pyhandpose {

constexpr double kSmallestShiftedTemperature = 0.025;
constexpr double kSmallestNorm = 1e-12;  // rows up to here are zero rows: u = 0, no gradient
constexpr double kLog2E = 1.4426950408889634074;

PYHANDPOSE_HD bool has_constant_shift(double temperature) {
  return temperature > kSmallestShiftedTemperature;
}

// NtXentForward::band_rows: the symmetry of s serves a square whose rows share the shift.
PYHANDPOSE_HD int64_t nt_xent_band_rows(const Contrast& contrast, double temperature) {
  return contrast.is_square() && has_constant_shift(temperature)
             ? BandPairs::usual_band_rows(contrast.rows.num_rows)
             : 0;
}

// Cosines to exponents, all in base 2: exp(s - shift) = 2^(cosine log2(e)/tau - shift). The factor
// is split in two, for its rounding would move all rows' losses the same way.
template <typename A>
struct Scores {
  A scale, scale_rest, shift;

  PYHANDPOSE_HD explicit Scores(double temperature) {
    const double exact = kLog2E / temperature;
    scale = static_cast<A>(exact);
    scale_rest = static_cast<A>(exact - static_cast<double>(scale));
    shift = has_constant_shift(temperature) ? scale : A(0);
  }
  // One cosine, or a vector of them.
  template <typename V>
  PYHANDPOSE_HD V exponent(V cosine) const {
    return cosine * scale + (cosine * scale_rest - shift);
  }
  // Of a cosine that is itself less exact than the factor.
  PYHANDPOSE_HD A rough_exponent(A cosine) const { return cosine * scale - shift; }
};

// 1/|z| from the sum of squares; 0 for a zero row, NaN for one that is not finite.
PYHANDPOSE_HD double inverse_norm(double sum_squares) {
  const double norm = square_root(sum_squares);
  if (norm <= kSmallestNorm) return 0.0;
  return is_finite(norm) ? 1.0 / norm : quiet_nan<double>();
}

// <u_i, u_p>, the same whichever of the two asks; or its share of every `step`-th element. `args`
// are those of either direction.
template <typename Args>
PYHANDPOSE_HD double positive_cosine(const Args& args, int64_t row, int64_t first = 0,
                                     int64_t step = 1) {
  const Contrast& contrast = args.contrast;
  if (!contrast.has_columns(row)) return quiet_nan<double>();
  const auto* unit = args.rows + contrast.rows.index(row, 0);
  const auto* positive = args.columns + contrast.columns.index(contrast.positive(row), 0);
  double cosine = 0.0;
  for (int64_t d = first; d < contrast.rows.dim; d += step)
    cosine += static_cast<double>(unit[d * PanelShape::kRows]) *
              static_cast<double>(positive[d * PanelShape::kRows]);
  return cosine;
}

// log2(2^a + 2^b)
PYHANDPOSE_HD double add_in_log2(double a, double b) {
  const double larger = maximum(a, b);
  return larger + logarithm_to_two(power_of_two(a - larger) + power_of_two(b - larger));
}

// l_i from log2 of the sum over the negatives, the shift put back.
PYHANDPOSE_HD double row_log_sum(double log2_negatives, double positive_cosine,
                                 double temperature) {
  return add_in_log2(log2_negatives, positive_cosine * kLog2E / temperature) / kLog2E;
}

PYHANDPOSE_HD double row_loss(double log_sum, double positive_cosine, double temperature) {
  return log_sum - positive_cosine / temperature;
}

// What makes G_ij from an exponential, by row: r_i, or the exponent -l_i in base 2 where there is
// no constant shift.
template <typename A>
PYHANDPOSE_HD A row_weight(double log_sum, double temperature) {
  const double exponent = static_cast<double>(Scores<A>(temperature).shift) - log_sum * kLog2E;
  return static_cast<A>(has_constant_shift(temperature) ? power_of_two(exponent) : exponent);
}

// The weight of a row of the rectangle: that of the column that it is.
template <typename A>
PYHANDPOSE_HD A own_weight(const A* weights, const Contrast& contrast, int64_t row) {
  return contrast.has_columns(row) ? weights[contrast.itself(row)] : quiet_nan<A>();
}

// c_i
template <typename A>
PYHANDPOSE_HD A positive_weight(const NtXentBackward<A>& args, int64_t row, double cosine) {
  const Contrast& contrast = args.contrast;
  if (!contrast.has_columns(row)) return quiet_nan<A>();
  const double score = cosine / args.temperature;
  return static_cast<A>(exponential_minus_one(score - args.log_sums[contrast.itself(row)]) +
                        exponential_minus_one(score - args.log_sums[contrast.positive(row)]));
}

// grad_i = sum over the splits + c_i u_p, or every `step`-th element of it. The positive after the
// negatives: they sum to much less than its share, and would be rounded to it.
template <typename A>
PYHANDPOSE_HD void add_positive(const NtXentBackward<A>& args, int64_t row, double cosine,
                                int64_t first = 0, int64_t step = 1) {
  const Contrast& contrast = args.contrast;
  const A weight = positive_weight(args, row, cosine);
  const int64_t p = contrast.has_columns(row) ? contrast.positive(row) : 0;
  const int64_t own = contrast.rows.index(row, 0);
  const A* __restrict__ positive = args.columns + contrast.columns.index(p, 0);
  A* __restrict__ grad = args.grad_panels + own;
  for (int64_t d = first; d < contrast.rows.dim; d += step) {
    A negatives = grad[d * PanelShape::kRows];
    for (int split = 1; split < args.num_splits; ++split)
      negatives += args.grad_of_split(split)[own + d * PanelShape::kRows];
    grad[d * PanelShape::kRows] = negatives + weight * positive[d * PanelShape::kRows];
  }
}

// A row's loss from the log-sums of all columns.
template <typename A>
PYHANDPOSE_HD double given_row_loss(const NtXentBackward<A>& args, int64_t row, double cosine) {
  if (!args.contrast.has_columns(row)) return quiet_nan<double>();
  return row_loss(args.log_sums[args.contrast.itself(row)], cosine, args.temperature);
}

// l_i and the row's loss, from log2 of the sum over its negatives.
template <typename A>
PYHANDPOSE_HD void finish_row(const NtXentForward<A>& args, int64_t row, double log2_negatives,
                              double cosine) {
  args.log_sums[row] = row_log_sum(log2_negatives, cosine, args.temperature);
  args.row_loss[row] = row_loss(args.log_sums[row], cosine, args.temperature);
}

// The gradient of row i at element d, from the panels' gradient sum_j G_ij u_j + c_i u_p.
// radial = <u_i, dL/du_i> has to be summed over d first.
template <typename A>
struct RowGradient {
  const A* grad;   // strides of a panel
  const A* unit;   // u_i, likewise
  A factor;        // grad_loss / (M tau)
  A inverse_norm;  // 1/|z_i|, 0 for a zero row
  A radial = A(0);

  PYHANDPOSE_HD RowGradient(const A* panels, const A* grad_panels, PanelShape shape, int64_t row,
                            A grad_loss, double divisor, A inverse_norm)
      : grad(grad_panels + shape.index(row, 0)),
        unit(panels + shape.index(row, 0)),
        factor(static_cast<A>(grad_loss / divisor)),
        inverse_norm(inverse_norm) {}

  // dL/du_i
  PYHANDPOSE_HD A upstream(int64_t d) const { return factor * grad[d * PanelShape::kRows]; }
  PYHANDPOSE_HD void absorb(int64_t d) { radial += unit[d * PanelShape::kRows] * upstream(d); }

  // dL/dz_i
  PYHANDPOSE_HD A operator()(int64_t d) const {
    if (inverse_norm == A(0)) return A(0);
    return inverse_norm * (upstream(d) - unit[d * PanelShape::kRows] * radial);
  }
};

// Who visits which tiles when, such that a tile (I,J) can serve the rows of I and those of J
// without a race and with sums in one order, whatever the number of threads. Panels are grouped
// in an even number of bands. Phase 0 visits each band's own tiles; phases 1 .. num_bands - 1 are
// the rounds of a tournament in which each band meets each other one once (circle method): within
// a phase no band has two tasks.
struct PairSchedule {
  static constexpr int64_t kPanelsPerBand = 4;  // at least, so that a task is worth starting
  static constexpr int64_t kMaxBands = 64;

  struct Pair {
    int64_t first, second;
  };

  int64_t num_panels, panels_per_band, num_bands;

  PYHANDPOSE_HD explicit PairSchedule(int64_t num_panels) : num_panels(num_panels) {
    const int64_t least = (num_panels + kMaxBands - 1) / kMaxBands;
    panels_per_band = least > kPanelsPerBand ? least : kPanelsPerBand;
    num_bands = (num_panels + panels_per_band - 1) / panels_per_band;
    num_bands += num_bands % 2;
  }
  PYHANDPOSE_HD int64_t num_phases() const { return num_bands; }
  PYHANDPOSE_HD int64_t num_tasks(int64_t phase) const {
    return phase == 0 ? num_bands : num_bands / 2;
  }
  PYHANDPOSE_HD Pair bands(int64_t phase, int64_t task) const {
    if (phase == 0) return {task, task};
    const int64_t circle = num_bands - 1, round = phase - 1;
    if (task == 0) return {round, circle};
    return {(round + task) % circle, (round + circle - task) % circle};
  }
  PYHANDPOSE_HD int64_t begin(int64_t band) const {
    const int64_t panel = band * panels_per_band;
    return panel < num_panels ? panel : num_panels;
  }
  PYHANDPOSE_HD int64_t end(int64_t band) const { return begin(band + 1); }
};

}  // namespace pyhandpose
