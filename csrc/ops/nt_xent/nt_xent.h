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
  PYHANDPOSE_HD int64_t positive(int64_t row) const {
    return row < num_rows / 2 ? row + num_rows / 2 : row - num_rows / 2;
  }
  PYHANDPOSE_HD bool is_negative(int64_t row, int64_t column) const {
    return column < num_rows && column != row && column != positive(row);
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
  const A* panels;   // (num_panels,width,32)
  double* sums;      // (num_panels * 32,) zero at first: sum over the negatives of exp(s - 1/tau)
                     // or, where that is no constant shift, log2 of their sum of exp(s)
  double* log_sums;  // (M,): l_i
  double* row_loss;  // (M,): l_i - s_ip
  PanelShape shape;
  double temperature;
};

template <typename A>
struct NtXentBackward {
  const A* panels;         // (num_panels,width,32)
  const double* log_sums;  // (M,): l_i
  A* weights;              // (num_panels * 32,): what exp(s_ij) is weighted with, from l_i
  A* grad_panels;          // (num_panels,width,32) zero at first: sum_j G_ij u_j + c_i u_p
  PanelShape shape;
  double temperature;
};

template <typename T>
struct NtXentUnpack {
  const acc_t<T>* panels;        // (num_panels,width,32)
  const acc_t<T>* grad_panels;   // (num_panels,width,32)
  const acc_t<T>* inverse_norm;  // (M,)
  const acc_t<T>* grad_loss;     // ()
  T* grad_z;                     // (M,D)
  PanelShape shape;
  double temperature;
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
    double nt_xent_mean_cpu(const double* row_loss, int64_t num_rows); template <typename A>
    void nt_xent_weights_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end);
    template <typename A>
    void nt_xent_gradient_pairs_cpu(const NtXentBackward<A>& args, int64_t phase, int64_t begin,
                                    int64_t end);
    template <typename A>
    void nt_xent_positives_cpu(const NtXentBackward<A>& args, int64_t begin, int64_t end);
    template <typename T>
    void nt_xent_unpack_cpu(const NtXentUnpack<T>& args, int64_t begin, int64_t end);)

#if defined(PYHANDPOSE_WITH_CUDA)
template <typename T>
void nt_xent_pack_cuda(const NtXentPack<T>& args, CUstream_st* stream);
// The mean of the row losses goes to `loss`.
template <typename A>
void nt_xent_forward_cuda(const NtXentForward<A>& args, A* loss, CUstream_st* stream);
template <typename A>
void nt_xent_backward_cuda(const NtXentBackward<A>& args, CUstream_st* stream);
template <typename T>
void nt_xent_unpack_cuda(const NtXentUnpack<T>& args, CUstream_st* stream);
#endif

// The two middle steps on tensors (nt_xent.cpp), for every op that packs panels: (loss, log_sums)
// and grad_panels. The device is the panels', whose stream is current. New panels are zero and have
// the dtype and device of a tensor `like` them.
at::Tensor nt_xent_new_panels(const at::Tensor& like, PanelShape shape);
std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels_cpu(const at::Tensor& panels,
                                                              PanelShape shape, double temperature);
at::Tensor nt_xent_backward_panels_cpu(const at::Tensor& panels, const at::Tensor& log_sums,
                                       PanelShape shape, double temperature);
#if defined(PYHANDPOSE_WITH_CUDA)
std::tuple<at::Tensor, at::Tensor> nt_xent_forward_panels_cuda(const at::Tensor& panels,
                                                               PanelShape shape,
                                                               double temperature);
at::Tensor nt_xent_backward_panels_cuda(const at::Tensor& panels, const at::Tensor& log_sums,
                                        PanelShape shape, double temperature);
#endif

}  // namespace pyhandpose
