// CPU kernels of latent_affine: one sample after another, its points in lanes (lane_points.h) and
// those that fill no register one by one. A row stays in the first-level cache between its passes.
#include "../../common/lane_points.h"
#include "latent_affine_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

template <typename T>
constexpr int kCount = Lanes<acc_t<T>>::kCount;

template <Convention C, typename T>
PYHANDPOSE_HD LatentStatistics<C, acc_t<T>> gather(const T* latent, int64_t num_points) {
  using S = acc_t<T>;
  return gather_points<LatentStatistics<C, Lanes<S>>, LatentStatistics<C, S>>(latent, num_points);
}

template <Convention C, typename T>
void forward(const LatentAffineForward<T>& args, int64_t begin, int64_t end) {
  using S = acc_t<T>;
  const int64_t P = args.num_points, in_lanes = P - P % kCount<T>;
  for (int64_t i = begin; i < end; ++i) {
    const T* latent = args.latent + i * 2 * P;
    T* out = args.out + i * 2 * P;
    const LatentMap<S> map = gather<C>(latent, P).map(args.affine + i * 6, P);
    const auto wide = in_all_lanes<LatentMap<Lanes<S>>, S>(map);
    for (int64_t p = 0; p < in_lanes; p += kCount<T>)
      store_points(out, p, wide(load_points(latent, p)));
    for (int64_t p = in_lanes; p < P; ++p) store_point(out, p, map(load_point(latent, p)));
  }
}

template <Convention C, typename T>
void backward(const LatentAffineBackward<T>& args, int64_t begin, int64_t end) {
  using S = acc_t<T>;
  const int64_t P = args.num_points, in_lanes = P - P % kCount<T>;
  for (int64_t i = begin; i < end; ++i) {
    const T* latent = args.latent + i * 2 * P;
    const T* grad_out = args.grad_out + i * 2 * P;
    T* grad_latent = args.grad_latent + i * 2 * P;
    const auto statistics = gather<C>(latent, P);
    LatentPullBack<C, S> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    auto wide = in_all_lanes<LatentPullBack<C, Lanes<S>>, S>(pull_back);
    if constexpr (LatentPullBack<C, S>::kSums) {
      for (int64_t p = 0; p < in_lanes; p += kCount<T>)
        wide.absorb(load_points(latent, p), load_points(grad_out, p));
      pull_back.sums = merge_lanes<PullBackSums<S>, S>(wide.sums);
      for (int64_t p = in_lanes; p < P; ++p)
        pull_back.absorb(load_point(latent, p), load_point(grad_out, p));
      wide.sums = in_all_lanes<PullBackSums<Lanes<S>>, S>(pull_back.sums);
    }
    auto points = point_of_lane<S>();
    for (int64_t p = 0; p < in_lanes; p += kCount<T>, points += decltype(points)(kCount<T>))
      store_points(grad_latent, p, wide(load_points(latent, p), load_points(grad_out, p), points));
    for (int64_t p = in_lanes; p < P; ++p)
      store_point(grad_latent, p, pull_back(load_point(latent, p), load_point(grad_out, p), p));
  }
}

}  // namespace

template <typename T>
void latent_affine_forward_cpu(const LatentAffineForward<T>& args, int64_t begin, int64_t end) {
  with_convention(args.convention,
                  [&](auto convention) { forward<convention.value>(args, begin, end); });
}

template <typename T>
void latent_affine_backward_cpu(const LatentAffineBackward<T>& args, int64_t begin, int64_t end) {
  with_convention(args.convention,
                  [&](auto convention) { backward<convention.value>(args, begin, end); });
}

#define PYHANDPOSE_INSTANTIATE(T)                                                              \
  template void latent_affine_forward_cpu<T>(const LatentAffineForward<T>&, int64_t, int64_t); \
  template void latent_affine_backward_cpu<T>(const LatentAffineBackward<T>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
PYHANDPOSE_INSTANTIATE(Half)
PYHANDPOSE_INSTANTIATE(BFloat16)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
