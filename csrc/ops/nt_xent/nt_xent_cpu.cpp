// CPU kernels of nt_xent.
//
// A tile is 32 x 32 scores of panels I and J, stored as tile[k][r]: k counts J's rows, r I's, and r
// runs along the vector lanes. It is computed by a register kernel (kTileRows x two vectors),
// turned into exponentials while still in registers, and stays in the first-level cache (4 KB) for
// what is made of it. One multiply_add serves both products: scores, from two panels, and gradient,
// from a panel and a tile. For I != J a tile serves both sides; PairSchedule keeps tasks apart.
#include "../../common/simd.h"
#include "nt_xent_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

constexpr int kPanel = PanelShape::kRows;
constexpr int kTileRows = kNumRegisters / 4;
static_assert(kPanel % kTileRows == 0 && PanelShape::kWidthMultiple % kTileRows == 0);

template <typename A>
struct alignas(64) Tile {
  A at[kPanel][kPanel];
};

// c[r][.] += sum_t a[t * kStep + r * kRow] * b[t * kPanel + .]
template <int kStep, int kRow, typename A>
PYHANDPOSE_HD void multiply_add(Vec<A> (&c)[kTileRows][2], const A* a, const A* b, int64_t count) {
  for (int64_t t = 0; t < count; ++t) {
    const Vec<A> b0 = load_vector(b + t * kPanel), b1 = load_vector(b + t * kPanel + kLanes<A>);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const Vec<A> factor = broadcast(a[t * kStep + r * kRow]);
      c[r][0] += factor * b0;
      c[r][1] += factor * b1;
    }
  }
}

// tile[k][r] = map(<u_k, u_r>, k, r) for vectors that start at lane r.
template <typename A, typename Map>
PYHANDPOSE_HD void fill_tile(Tile<A>& tile, const A* panel_i, const A* panel_j, int64_t width,
                             Map map) {
  for (int lane = 0; lane < kPanel; lane += 2 * kLanes<A>)
    for (int k = 0; k < kPanel; k += kTileRows) {
      Vec<A> cosine[kTileRows][2] = {};
      multiply_add<kPanel, 1>(cosine, panel_j + k, panel_i + lane, width);
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        store_vector(&tile.at[k + r][lane], map(cosine[r][0], k + r, lane));
        store_vector(&tile.at[k + r][lane + kLanes<A>], map(cosine[r][1], k + r, lane + kLanes<A>));
      }
    }
}

// Gives a row's score with itself and with its positive, and the scores of rows beyond M, a value
// that counts for nothing.
template <typename A>
PYHANDPOSE_HD void mask_tile(Tile<A>& tile, const Contrast& contrast, int64_t i, int64_t j,
                             A nothing) {
  const int64_t first_i = i * kPanel, first_j = j * kPanel;
  const int64_t rows_i = contrast.rows.num_rows - first_i;
  const int64_t rows_j = contrast.columns.num_rows - first_j;
  for (int r = 0; r < kPanel && r < rows_i; ++r) {
    const int64_t itself = contrast.itself(first_i + r) - first_j;
    const int64_t positive = contrast.positive(first_i + r) - first_j;
    if (itself >= 0 && itself < kPanel) tile.at[itself][r] = nothing;
    if (positive >= 0 && positive < kPanel) tile.at[positive][r] = nothing;
  }
  if (rows_i >= kPanel && rows_j >= kPanel) return;
  for (int64_t k = 0; k < kPanel; ++k)
    for (int64_t r = k < rows_j ? rows_i : 0; r < kPanel; ++r) tile.at[k][r] = nothing;
}

// grad_i[d][r] += sum_k panel_j[d][k] tile[k][r]
template <typename A>
PYHANDPOSE_HD void add_product(A* grad_i, const A* panel_j, const Tile<A>& tile, int64_t width) {
  for (int lane = 0; lane < kPanel; lane += 2 * kLanes<A>)
    for (int64_t d = 0; d < width; d += kTileRows) {
      A* grad = grad_i + d * kPanel + lane;
      Vec<A> sum[kTileRows][2];
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        sum[r][0] = load_vector(grad + r * kPanel);
        sum[r][1] = load_vector(grad + r * kPanel + kLanes<A>);
      }
      multiply_add<1, kPanel>(sum, panel_j + d * kPanel, &tile.at[0][lane], kPanel);
#pragma GCC unroll 8
      for (int r = 0; r < kTileRows; ++r) {
        store_vector(grad + r * kPanel, sum[r][0]);
        store_vector(grad + r * kPanel + kLanes<A>, sum[r][1]);
      }
    }
}

template <typename A>
PYHANDPOSE_HD void transpose(const Tile<A>& from, Tile<A>& to) {
  for (int k = 0; k < kPanel; ++k)
    for (int r = 0; r < kPanel; ++r) to.at[r][k] = from.at[k][r];
}

// visit(i, j) for every tile, i <= j, of the tasks [begin, end) of a phase; finish(j) after all
// tiles of panel j in a task.
template <typename Visit, typename Finish>
PYHANDPOSE_HD void for_each_tile(int64_t num_panels, int64_t phase, int64_t begin, int64_t end,
                                 Visit visit, Finish finish) {
  const PairSchedule schedule(num_panels);
  for (int64_t task = begin; task < end; ++task) {
    const auto bands = schedule.bands(phase, task);
    for (int64_t j = schedule.begin(bands.second); j < schedule.end(bands.second); ++j) {
      const int64_t last = phase == 0 ? j + 1 : schedule.end(bands.first);
      for (int64_t i = schedule.begin(bands.first); i < last; ++i) visit(i, j);
      finish(j);
    }
  }
}

}  // namespace

template <typename T>
void nt_xent_pack_cpu(const NtXentPack<T>& args, int64_t begin, int64_t end) {
  const PanelShape shape = args.shape;
  const int64_t first = begin * kPanel, beyond = end * kPanel;
  for (int64_t i = first; i < beyond && i < shape.num_rows; ++i) {
    const T* z = args.z + i * shape.dim;
    double sum_squares = 0.0;
    for (int64_t d = 0; d < shape.dim; ++d) {
      const double value = load(z[d]);
      sum_squares += value * value;
    }
    const double gain = inverse_norm(sum_squares);
    args.inverse_norm[i] = static_cast<acc_t<T>>(gain);
    acc_t<T>* unit = args.panels + shape.index(i, 0);
    for (int64_t d = 0; d < shape.dim; ++d)
      unit[d * kPanel] = static_cast<acc_t<T>>(load(z[d]) * gain);
  }
}

template <typename A>
void nt_xent_sum_pairs_cpu(const NtXentForward<A>& args, int64_t phase, int64_t begin,
                           int64_t end) {
  const PanelShape shape = args.contrast.columns;
  const Scores<A> scores(args.temperature);
  Tile<A> tile;
  Vec<A> sums_j[kPanel] = {};  // still to be summed over the lanes
  for_each_tile(
      shape.num_panels(), phase, begin, end,
      [&](int64_t i, int64_t j) {
        fill_tile(tile, args.columns + i * shape.panel_size(),
                  args.columns + j * shape.panel_size(), shape.width(),
                  [&](Vec<A> cosine, int, int) { return exp2_vector(scores.exponent(cosine)); });
        mask_tile(tile, args.contrast, i, j, A(0));
        A sums_i[kPanel] = {};
        for (int k = 0; k < kPanel; ++k)
          for (int r = 0; r < kPanel; ++r) sums_i[r] += tile.at[k][r];
        for (int r = 0; r < kPanel; ++r) args.sums[i * kPanel + r] += sums_i[r];
        if (i == j) return;
        for (int k = 0; k < kPanel; ++k)
          for (int r = 0; r < kPanel; r += kLanes<A>) sums_j[k] += load_vector(&tile.at[k][r]);
      },
      [&](int64_t j) {
        for (int k = 0; k < kPanel; ++k) {
          args.sums[j * kPanel + k] += sum_lanes<A>(sums_j[k]);
          sums_j[k] = Vec<A>{};
        }
      });
}

// Full rows: each one's maximum so far, by lanes, and the sum under it.
template <typename A>
void nt_xent_log_sum_rows_cpu(const NtXentForward<A>& args, int64_t begin, int64_t end) {
  const PanelShape shape = args.contrast.columns;
  const Scores<A> scores(args.temperature);
  constexpr A kNothing = -static_cast<A>(__builtin_inff());
  constexpr int kVectors = kPanel / kLanes<A>;
  Tile<A> tile;
  for (int64_t i = begin; i < end; ++i) {
    Vec<A> max[kVectors], sum[kVectors] = {};
    for (auto& lanes : max) lanes = broadcast(kNothing);
    for (int64_t j = 0; j < shape.num_panels(); ++j) {
      fill_tile(tile, args.rows + i * shape.panel_size(), args.columns + j * shape.panel_size(),
                shape.width(), [&](Vec<A> cosine, int, int) { return scores.exponent(cosine); });
      mask_tile(tile, args.contrast, i, j, kNothing);
      for (int v = 0; v < kVectors; ++v) {
        Vec<A> larger = max[v];
        for (int k = 0; k < kPanel; ++k) {
          const Vec<A> x = load_vector(&tile.at[k][v * kLanes<A>]);
          larger = x > larger ? x : larger;
        }
        sum[v] *= exp2_vector(max[v] - larger);
        for (int k = 0; k < kPanel; ++k)
          sum[v] += exp2_vector(load_vector(&tile.at[k][v * kLanes<A>]) - larger);
        max[v] = larger;
      }
    }
    for (int r = 0; r < kPanel && i * kPanel + r < args.contrast.rows.num_rows; ++r)
      finish_row(args, i * kPanel + r,
                 logarithm_to_two(sum[r / kLanes<A>][r % kLanes<A>]) +
                     max[r / kLanes<A>][r % kLanes<A>] + scores.shift,
                 positive_cosine(args, i * kPanel + r));
  }
}

template <typename A>
void nt_xent_row_loss_cpu(const NtXentForward<A>& args, int64_t begin, int64_t end) {
  const Scores<A> scores(args.temperature);
  for (int64_t i = begin * kPanel; i < end * kPanel && i < args.contrast.rows.num_rows; ++i)
    finish_row(args, i, logarithm_to_two(args.sums[i]) + scores.shift, positive_cosine(args, i));
}

template <typename A>
void nt_xent_given_loss_cpu(const NtXentBackward<A>& args, double* row_loss, int64_t begin,
                            int64_t end) {
  for (int64_t i = begin * kPanel; i < end * kPanel && i < args.contrast.rows.num_rows; ++i)
    row_loss[i] = given_row_loss(args, i, positive_cosine(args, i));
}

double nt_xent_mean_cpu(const double* row_loss, Contrast contrast) {
  double sum = 0.0;
  for (int64_t i = 0; i < contrast.rows.num_rows; ++i) sum += row_loss[i];
  return sum / static_cast<double>(contrast.columns.num_rows);
}

template <typename A>
void nt_xent_weights_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end) {
  for (int64_t i = begin * kPanel; i < end * kPanel && i < args.contrast.columns.num_rows; ++i)
    args.weights[i] = row_weight<A>(args.log_sums[i], args.temperature);
}

template <typename A>
void nt_xent_positives_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end) {
  for (int64_t i = begin * kPanel; i < end * kPanel && i < args.contrast.rows.num_rows; ++i)
    add_positive(args, i, positive_cosine(args, i));
}

// G_ij of vectors of rows that start at lane r, against column k.
template <typename A>
struct PairWeights {
  Scores<A> scores;
  const A* rows;
  const A* columns;
  bool constant_shift;

  PYHANDPOSE_HD Vec<A> operator()(Vec<A> cosine, int k, int lane) const {
    const Vec<A> s = scores.exponent(cosine), own = load_vector(rows + lane);
    return constant_shift ? exp2_vector(s) * (own + columns[k])
                          : exp2_vector(s + own) + exp2_vector(s + columns[k]);
  }
};

// Full rows: the gradient of rows that are not all columns.
template <typename A>
void nt_xent_gradient_rows_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end) {
  const PanelShape shape = args.contrast.columns;
  const int64_t num_rows = args.contrast.rows.num_rows;
  PairWeights<A> weigh{Scores<A>(args.temperature), nullptr, nullptr,
                       has_constant_shift(args.temperature)};
  Tile<A> tile;
  for (int64_t i = begin; i < end; ++i) {
    A own[kPanel] = {};
    for (int r = 0; r < kPanel && i * kPanel + r < num_rows; ++r)
      own[r] = own_weight(args.weights, args.contrast, i * kPanel + r);
    weigh.rows = own;
    for (int64_t j = 0; j < shape.num_panels(); ++j) {
      const A* column_panel = args.columns + j * shape.panel_size();
      weigh.columns = args.weights + j * kPanel;
      fill_tile(tile, args.rows + i * shape.panel_size(), column_panel, shape.width(), weigh);
      mask_tile(tile, args.contrast, i, j, A(0));
      add_product(args.grad_panels + i * shape.panel_size(), column_panel, tile, shape.width());
    }
  }
}

template <typename A>
void nt_xent_gradient_pairs_cpu(const NtXentBackward<A>& args, int64_t phase, int64_t begin,
                                int64_t end) {
  const PanelShape shape = args.contrast.columns;
  PairWeights<A> weigh{Scores<A>(args.temperature), nullptr, nullptr,
                       has_constant_shift(args.temperature)};
  Tile<A> tile, transposed;
  const auto visit = [&](int64_t i, int64_t j) {
    const A* panel_i = args.columns + i * shape.panel_size();
    const A* panel_j = args.columns + j * shape.panel_size();
    weigh.rows = args.weights + i * kPanel;
    weigh.columns = args.weights + j * kPanel;
    fill_tile(tile, panel_i, panel_j, shape.width(), weigh);
    mask_tile(tile, args.contrast, i, j, A(0));
    add_product(args.grad_panels + i * shape.panel_size(), panel_j, tile, shape.width());
    if (i == j) return;
    transpose(tile, transposed);
    add_product(args.grad_panels + j * shape.panel_size(), panel_i, transposed, shape.width());
  };
  for_each_tile(shape.num_panels(), phase, begin, end, visit, [](int64_t) {});
}

template <typename T>
void nt_xent_unpack_cpu(const NtXentUnpack<T>& args, int64_t begin, int64_t end) {
  const PanelShape shape = args.shape;
  for (int64_t i = begin * kPanel; i < end * kPanel && i < shape.num_rows; ++i) {
    RowGradient<acc_t<T>> row(args.panels, args.grad_panels, shape, i, *args.grad_loss,
                              args.divisor, args.inverse_norm[i]);
    for (int64_t d = 0; d < shape.dim; ++d) row.absorb(d);
    T* grad_z = args.grad_z + i * shape.dim;
    for (int64_t d = 0; d < shape.dim; ++d) grad_z[d] = store<T>(row(d));
  }
}

#define PYHANDPOSE_INSTANTIATE(T)                                            \
  template void nt_xent_pack_cpu<T>(const NtXentPack<T>&, int64_t, int64_t); \
  template void nt_xent_unpack_cpu<T>(const NtXentUnpack<T>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

#define PYHANDPOSE_INSTANTIATE(A)                                                               \
  template void nt_xent_sum_pairs_cpu<A>(const NtXentForward<A>&, int64_t, int64_t, int64_t);   \
  template void nt_xent_log_sum_rows_cpu<A>(const NtXentForward<A>&, int64_t, int64_t);         \
  template void nt_xent_row_loss_cpu<A>(const NtXentForward<A>&, int64_t, int64_t);             \
  template void nt_xent_given_loss_cpu<A>(const NtXentBackward<A>&, double*, int64_t, int64_t); \
  template void nt_xent_weights_cpu<A>(const NtXentBackward<A>&, int64_t, int64_t);             \
  template void nt_xent_positives_cpu<A>(const NtXentBackward<A>&, int64_t, int64_t);           \
  template void nt_xent_gradient_rows_cpu<A>(const NtXentBackward<A>&, int64_t, int64_t);       \
  template void nt_xent_gradient_pairs_cpu<A>(const NtXentBackward<A>&, int64_t, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
