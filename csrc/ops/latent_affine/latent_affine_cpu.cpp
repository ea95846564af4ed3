// CPU kernels of latent_affine: one sample after another; its 2P numbers stay in the first-level
// cache between the pass that gathers statistics and the pass that writes.
#include "latent_affine_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

template <Convention C, typename T>
PYHANDPOSE_HD LatentStatistics<C, acc_t<T>> gather(const T* latent, int64_t num_points) {
  LatentStatistics<C, acc_t<T>> statistics;
  for (int64_t p = 0; p < num_points; ++p) statistics.absorb(load_point(latent, p), p);
  return statistics;
}

template <Convention C, typename T>
void forward(const LatentAffineForward<T>& args, int64_t begin, int64_t end) {
  const int64_t P = args.num_points;
  for (int64_t i = begin; i < end; ++i) {
    const T* latent = args.latent + i * 2 * P;
    T* out = args.out + i * 2 * P;
    const auto map = gather<C>(latent, P).map(args.affine + i * 6, P);
    for (int64_t p = 0; p < P; ++p) store_point(out, p, map(load_point(latent, p)));
  }
}

template <Convention C, typename T>
void backward(const LatentAffineBackward<T>& args, int64_t begin, int64_t end) {
  const int64_t P = args.num_points;
  for (int64_t i = begin; i < end; ++i) {
    const T* latent = args.latent + i * 2 * P;
    const T* grad_out = args.grad_out + i * 2 * P;
    T* grad_latent = args.grad_latent + i * 2 * P;
    const auto statistics = gather<C>(latent, P);
    LatentPullBack<C, acc_t<T>> pull_back{statistics.map(args.affine + i * 6, P), statistics};
    for (int64_t p = 0; p < P; ++p)
      pull_back.absorb(load_point(latent, p), load_point(grad_out, p));
    for (int64_t p = 0; p < P; ++p)
      store_point(grad_latent, p, pull_back(load_point(latent, p), load_point(grad_out, p), p));
  }
}

}  // namespace

template <typename T>
void latent_affine_forward_cpu(const LatentAffineForward<T>& args, int64_t begin, int64_t end) {
  switch (args.convention) {
    case Convention::kPaper:
      return forward<Convention::kPaper>(args, begin, end);
    case Convention::kOfficial:
      return forward<Convention::kOfficial>(args, begin, end);
    case Convention::kDirect:
      return forward<Convention::kDirect>(args, begin, end);
  }
}

template <typename T>
void latent_affine_backward_cpu(const LatentAffineBackward<T>& args, int64_t begin, int64_t end) {
  switch (args.convention) {
    case Convention::kPaper:
      return backward<Convention::kPaper>(args, begin, end);
    case Convention::kOfficial:
      return backward<Convention::kOfficial>(args, begin, end);
    case Convention::kDirect:
      return backward<Convention::kDirect>(args, begin, end);
  }
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
