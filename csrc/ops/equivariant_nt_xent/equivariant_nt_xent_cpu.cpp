// CPU kernels of equivariant_nt_xent: one row after another, in and out of nt_xent's panels. A row
// stays in the first-level cache between its passes.
#include "../../common/lane_points.h"
#include "equivariant_nt_xent_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

template <Convention C, typename T>
PYHANDPOSE_HD LatentStatistics<C, acc_t<T>> gather(const T* z, int64_t num_points) {
  using S = acc_t<T>;
  return gather_points<LatentStatistics<C, Lanes<S>>, LatentStatistics<C, S>>(z, num_points);
}

template <Convention C, typename T>
void pack(const EquivariantPack<T>& args, int64_t first_row, int64_t end_row) {
  const PanelShape shape = args.rows.shape;
  const int64_t P = shape.dim / 2;
  for (int64_t i = first_row; i < end_row; ++i) {
    const T* z = args.rows.z + i * shape.dim;
    const auto map = gather<C>(z, P).map(args.affine + i * 6, P);
    MovedNorm norm;
    for (int64_t p = 0; p < P; ++p) norm.absorb(map(load_point(z, p)));
    const double gain = inverse_norm(norm.sum_squares);
    args.rows.inverse_norm[i] = static_cast<acc_t<T>>(gain);
    acc_t<T>* unit = args.rows.panels + shape.index(i, 0);
    for (int64_t p = 0; p < P; ++p) store_unit_point(unit, p, map(load_point(z, p)), gain);
  }
}

template <Convention C, typename T>
void unpack(const EquivariantUnpack<T>& args, int64_t first_row, int64_t end_row) {
  const PanelShape shape = args.rows.shape;
  const int64_t P = shape.dim / 2;
  for (int64_t i = first_row; i < end_row; ++i) {
    const T* z = args.z + i * shape.dim;
    T* grad_z = args.rows.grad_z + i * shape.dim;
    RowGradient<acc_t<T>> row(args.rows.panels, args.rows.grad_panels, shape, i,
                              *args.rows.grad_loss, args.rows.divisor, args.rows.inverse_norm[i]);
    for (int64_t d = 0; d < shape.dim; ++d) row.absorb(d);
    const auto statistics = gather<C>(z, P);
    LatentPullBack<C, acc_t<T>> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    for (int64_t p = 0; p < P; ++p) pull_back.absorb(load_point(z, p), moved_gradient(row, p));
    for (int64_t p = 0; p < P; ++p)
      store_point(grad_z, p, pull_back(load_point(z, p), moved_gradient(row, p), p));
  }
}

PYHANDPOSE_HD int64_t row_of(int64_t panel, PanelShape shape) {
  const int64_t row = panel * PanelShape::kRows;
  return row < shape.num_rows ? row : shape.num_rows;
}

}  // namespace

template <typename T>
void equivariant_nt_xent_pack_cpu(const EquivariantPack<T>& args, int64_t begin, int64_t end) {
  const int64_t first = row_of(begin, args.rows.shape), beyond = row_of(end, args.rows.shape);
  with_convention(args.convention,
                  [&](auto convention) { pack<convention.value>(args, first, beyond); });
}

template <typename T>
void equivariant_nt_xent_unpack_cpu(const EquivariantUnpack<T>& args, int64_t begin, int64_t end) {
  const int64_t first = row_of(begin, args.rows.shape), beyond = row_of(end, args.rows.shape);
  with_convention(args.convention,
                  [&](auto convention) { unpack<convention.value>(args, first, beyond); });
}

#define PYHANDPOSE_INSTANTIATE(T)                                                             \
  template void equivariant_nt_xent_pack_cpu<T>(const EquivariantPack<T>&, int64_t, int64_t); \
  template void equivariant_nt_xent_unpack_cpu<T>(const EquivariantUnpack<T>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
