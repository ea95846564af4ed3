// Kernels of nt_xent: the contrastive loss of M = 2N rows, row i paired with row (i + N) mod M,
// without ever holding the M x M matrix.
//
//   pack      z (M,D) T -> unit rows in panels, 1/|z| (M,)
//   forward   panels -> log-sums l (M,), row losses (M,) -> mean ()
//   backward  panels, l -> the panels' gradient, up to a factor
//   unpack    panels and their gradient, grad_loss () -> grad_z (M,D) T
//
// T is double, float, Half or BFloat16; panels hold A = acc_t<T>; log-sums and row losses are
// double. Forward and backward see panels alone: an op that makes its unit rows otherwise
// (equivariant_nt_xent) brings its own pack and unpack and shares the rest. The maths is in
// nt_xent_math.h, its derivation in docs/maths/nt_xent.md.
#pragma once

#include <cstdint>
#include <tuple>

#include "../../common/host_device.h"
#include "../../common/isa.h"
#include "../../common/mma_tile.h"
#include "../../common/precision.h"
#include "../../common/scalar.h"

#if defined(PYHANDPOSE_WITH_CUDA)
struct CUstream_st;
#endif

namespace at {
class Tensor;
}

namespace pyhandpose {

// Unit rows u_i = z_i / |z_i|, transposed in panels of 32 rows: element d of row i is
// panels[index(i, d)], so 32 rows lie side by side, and tiles of scores, their exponentials and
// their share of the gradient all run along them. Padding beyond M and D is zero.
struct PanelShape {
  static constexpr int64_t kRows = 32;          // rows of a panel
  static constexpr int64_t kWidthMultiple = 8;  // D is padded to a multiple of it

  int64_t num_rows;  // M
  int64_t dim;       // D

  PYHANDPOSE_HD int64_t num_panels() const { return (num_rows + kRows - 1) / kRows; }
  PYHANDPOSE_HD int64_t width() const {
    return (dim + kWidthMultiple - 1) / kWidthMultiple * kWidthMultiple;
  }
  PYHANDPOSE_HD int64_t panel_size() const { return width() * kRows; }
  PYHANDPOSE_HD int64_t index(int64_t row, int64_t d) const {
    return row / kRows * panel_size() + d * kRows + row % kRows;
  }
};

// Which rows are contrasted with which columns. Square: M = 2N rows with themselves, row i with the
// positive (i + N) mod M. Rectangular: m rows, each of which names, among M columns, the one that
// is itself and its positive; a row that names one beyond them is NaN throughout.
struct Contrast {
  PanelShape rows, columns;
  const int64_t* itself_of = nullptr;    // (m,), null: square
  const int64_t* positive_of = nullptr;  // (m,), null: square

  PYHANDPOSE_HD bool is_square() const { return itself_of == nullptr; }
  PYHANDPOSE_HD int64_t itself(int64_t row) const { return itself_of ? itself_of[row] : row; }
  PYHANDPOSE_HD int64_t positive(int64_t row) const {
    if (positive_of) return positive_of[row];
    const int64_t half = columns.num_rows / 2;
    return row < half ? row + half : row - half;
  }
  PYHANDPOSE_HD bool has_columns(int64_t row) const {
    const int64_t i = itself(row), p = positive(row);
    return i >= 0 && i < columns.num_rows && p >= 0 && p < columns.num_rows;
  }
};

// The columns that a row's streamed sums leave out: all, where a tile has more rows than there are.
// There are fewer than 2^31, as a grid allows.
struct LeftOut {
  int itself = -1, positive = -1, num_columns = 0;

  LeftOut() = default;
  PYHANDPOSE_HD LeftOut(const Contrast& contrast, int64_t row) {
    if (row >= contrast.rows.num_rows) return;
    num_columns = static_cast<int>(contrast.columns.num_rows);
    if (!contrast.has_columns(row)) return;
    itself = static_cast<int>(contrast.itself(row));
    positive = static_cast<int>(contrast.positive(row));
  }
  PYHANDPOSE_HD bool operator()(int64_t column) const {
    return column >= num_columns || column == itself || column == positive;
  }
  // Whether any of [first, first + 64) is left out, and which: bit c for column first + c.
  PYHANDPOSE_HD bool among(int first) const {
    return num_columns - first < 64 || is_near(itself, first) || is_near(positive, first);
  }
  PYHANDPOSE_HD uint64_t bits(int first) const {
    const int columns = num_columns - first;
    uint64_t bits = columns >= 64 ? 0 : columns <= 0 ? ~uint64_t{0} : ~uint64_t{0} << columns;
    if (is_near(itself, first)) bits |= uint64_t{1} << (itself - first);
    if (is_near(positive, first)) bits |= uint64_t{1} << (positive - first);
    return bits;
  }

 private:
  PYHANDPOSE_HD static bool is_near(int column, int first) {
    return static_cast<unsigned>(column - first) < 64;
  }
};

template <typename T>
struct NtXentPack {
  const T* z;              // (M,D)
  acc_t<T>* panels;        // (num_panels,width,32)
  acc_t<T>* inverse_norm;  // (M,): 1/|z_i|, 0 for a zero row
  PanelShape shape;
};

template <typename A>
struct NtXentForward {
  const A* rows;     // (num_panels,width,32) of the m rows
  const A* columns;  // (num_panels,width,32) of the M columns
  // Over the negatives; CPU: sums (num_panels * 32,) of exp(s - 1/tau), zero at first; CUDA: log2
  // of the sum of exp(s), (num_splits,m), each split over a part of the columns.
  double* sums;
  double* log_sums;  // (m,): l_i
  double* row_loss;  // (m,): l_i - s_ip
  Contrast contrast;
  double temperature;
  int num_splits = 1;
  // CUDA, tensor cores, square with a constant shift: instead of `sums`, rows of a band of
  // BandPairs and the sums of exp(s - 1/tau) over the negatives of each band, (num_bands,m). 0: not
  // so.
  int64_t band_rows = 0;
  float* band_sums = nullptr;
};

template <typename A>
struct NtXentBackward {
  const A* rows;           // (num_panels,width,32) of the m rows
  const A* columns;        // (num_panels,width,32) of the M columns
  const double* log_sums;  // (M,): l_j of all columns
  A* weights;  // (M padded to tiles,): what exp(s_ij) is weighted with; CUDA: zero beyond M
  // (num_panels,width,32) of rows, on the CPU zero at first: sum_j G_ij u_j + c_i u_p
  A* grad_panels;
  Contrast contrast;
  double temperature;
  // CUDA: sums over further parts of the columns, (num_splits - 1,num_panels,width,32)
  A* grad_parts = nullptr;
  int num_splits = 1;
  // Tiles of columns that tensor cores sum up before they are added to what lies in memory: they
  // round towards zero, and the error of a chain of sums grows with its length.
  int tiles_per_chain = 64;

  PYHANDPOSE_HD A* grad_of_split(int split) const {
    if (split == 0) return grad_panels;
    return grad_parts + (split - 1) * contrast.rows.num_panels() * contrast.rows.panel_size();
  }
};

template <typename T>
struct NtXentUnpack {
  const acc_t<T>* panels;        // (num_panels,width,32)
  const acc_t<T>* grad_panels;   // (num_panels,width,32)
  const acc_t<T>* inverse_norm;  // (M,)
  const acc_t<T>* grad_loss;     // ()
  T* grad_z;                     // (M,D)
  PanelShape shape;
  double divisor;  // M tau
};

// The unit rows as the tensor cores take them; without data where they do not (Precision::kFfma).
struct NtXentOperand {
  unsigned char* data = nullptr;
  OperandShape shape = {};
};

struct NtXentOperands {
  NtXentOperand rows, columns;
  Precision precision = Precision::kFfma;
};

// On the CPU [begin, end) are panels, or tasks of one phase of PairSchedule.
PYHANDPOSE_FOR_EACH_ISA(
    template <typename T>
    void nt_xent_pack_cpu(const NtXentPack<T>& args, int64_t begin, int64_t end);
    template <typename A> void nt_xent_sum_pairs_cpu(const NtXentForward<A>& args, int64_t phase,
                                                     int64_t begin, int64_t end);
    template <typename A>
    void nt_xent_log_sum_rows_cpu(const NtXentForward<A>& args, int64_t begin, int64_t end);
    template <typename A>
    void nt_xent_row_loss_cpu(const NtXentForward<A>& args, int64_t begin, int64_t end);
    template <typename A> void nt_xent_given_loss_cpu(const NtXentBackward<A>& args,
                                                      double* row_loss, int64_t begin, int64_t end);
    double nt_xent_mean_cpu(const double* row_loss, Contrast contrast); template <typename A>
    void nt_xent_weights_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end);
    template <typename A>
    void nt_xent_gradient_pairs_cpu(const NtXentBackward<A>& args, int64_t phase, int64_t begin,
                                    int64_t end);
    template <typename A>
    void nt_xent_gradient_rows_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end);
    template <typename A>
    void nt_xent_positives_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end);
    template <typename T>
    void nt_xent_unpack_cpu(const NtXentUnpack<T>& args, int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void nt_xent_pack_cuda(const NtXentPack<T>& args, CUstream_st* stream);
// `loss` receives the sum of the row losses over M.
template <typename A>
void nt_xent_forward_cuda(const NtXentForward<A>& args, const NtXentOperands& operands, A* loss,
                          CUstream_st* stream);
template <typename A>
void nt_xent_given_loss_cuda(const NtXentBackward<A>& args, double* row_loss, A* loss,
                             CUstream_st* stream);
template <typename A>
void nt_xent_backward_cuda(const NtXentBackward<A>& args, const NtXentOperands& operands,
                           CUstream_st* stream);
template <typename T>
void nt_xent_unpack_cuda(const NtXentUnpack<T>& args, CUstream_st* stream);

// The sums over the negatives without tensor cores (nt_xent_cuda.cu).
template <typename A>
void nt_xent_negatives_forward_cuda(const NtXentForward<A>& args, CUstream_st* stream);
template <typename A>
void nt_xent_negatives_backward_cuda(const NtXentBackward<A>& args, CUstream_st* stream);

// The same on tensor cores (nt_xent_mma_cuda.cu), where the current device has them.
bool has_mma();
PYHANDPOSE_HD ColumnSplits nt_xent_mma_forward_splits(const Contrast& contrast) {
  return {contrast.rows.num_rows, contrast.columns.num_rows, 1};
}
PYHANDPOSE_HD ColumnSplits nt_xent_mma_backward_splits(const Contrast& contrast) {
  return {contrast.rows.num_rows, contrast.columns.num_rows,
          (contrast.rows.dim + kSlab - 1) / kSlab};
}
void nt_xent_prepare_cuda(const float* panels, PanelShape shape, const NtXentOperand& operand,
                          Precision precision, CUstream_st* stream);
void nt_xent_mma_forward_cuda(const NtXentForward<float>& args, const NtXentOperands& operands,
                              CUstream_st* stream);
void nt_xent_mma_backward_cuda(const NtXentBackward<float>& args, const NtXentOperands& operands,
                               CUstream_st* stream);
#endif

// The steps on tensors of either device (nt_xent.cpp), for every op that contrasts rows. The device
// of a CUDA tensor is current. New panels are zero, where not said otherwise, and have the dtype
// and device of a tensor `like` them; without a Contrast of its own, a step takes M = 2N rows as a
// square.
at::Tensor nt_xent_new_panels(const at::Tensor& like, PanelShape shape, bool zero = true);
// panels, inverse_norm
std::tuple<at::Tensor, at::Tensor> nt_xent_pack(const at::Tensor& z);
// loss: the sum of the row losses over M; log_sums (m,)
std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels(const at::Tensor& rows,
                                                          const at::Tensor& columns,
                                                          const Contrast& contrast,
                                                          double temperature, Precision precision);
// The same loss from log_sums (M,) of all columns.
at::Tensor nt_xent_loss_of_panels(const at::Tensor& rows, const at::Tensor& columns,
                                  const at::Tensor& log_sums, const Contrast& contrast,
                                  double temperature);
// grad_panels of the rows
at::Tensor nt_xent_backward_panels(const at::Tensor& rows, const at::Tensor& columns,
                                   const at::Tensor& log_sums, const Contrast& contrast,
                                   double temperature, Precision precision);
// grad_z
at::Tensor nt_xent_unpack(const at::Tensor& grad_loss, const at::Tensor& z,
                          const at::Tensor& panels, const at::Tensor& inverse_norm,
                          const at::Tensor& grad_panels, double divisor);

}  // namespace pyhandpose
