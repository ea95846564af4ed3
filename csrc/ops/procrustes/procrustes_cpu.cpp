// CPU kernels of procrustes: one sample a lane (lane_groups.h).
#include "../../common/lane_groups.h"
#include "procrustes.h"
#include "procrustes_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

constexpr int kPerSample = 28;  // rotation and its gradient 18, scale 2, translation 6, ...

template <typename T, bool Weighted>
struct HeldPoints {
  using Number = T;
  using S = element_t<T>;
  static constexpr bool kWeighted = Weighted;

  int64_t num_points;
  const S *source_, *target_, *weights_;

  PYHANDPOSE_HD HeldPoints(Group<T>& group, const PointSets<S>& sets)
      : num_points(sets.num_points),
        source_(group.read(sets.source, 3 * sets.num_points)),
        target_(group.read(sets.target, 3 * sets.num_points)),
        weights_(Weighted ? group.read(sets.weights, sets.num_points) : nullptr) {}

  PYHANDPOSE_HD Vec3<T> source(int64_t n) const { return get_vector<T>(source_, n); }
  PYHANDPOSE_HD Vec3<T> target(int64_t n) const { return get_vector<T>(target_, n); }
  PYHANDPOSE_HD T weight(int64_t n) const { return Weighted ? get<T>(weights_, n) : T(S(1)); }
};

template <typename T, bool Weighted>
void forward_group(const ProcrustesForward<element_t<T>>& args, Group<T> group) {
  using S = element_t<T>;
  const HeldPoints<T, Weighted> points(group, args.sets);
  const SimilarityFit<T> found =
      fit(gather_moments(points), args.with_scale, args.allow_reflection);
  S* const rotation = group.begin_write(args.rotation, 9);
  S* const scale = group.begin_write(args.scale, 1);
  S* const translation = group.begin_write(args.translation, 3);
  S* const conditioning = group.begin_write(args.conditioning, 1);
  put(rotation, found.R);
  put(scale, 0, found.k);
  put(translation, 0, found.t);
  put(conditioning, 0, found.conditioning);
  group.end_write(rotation, args.rotation, 9);
  group.end_write(scale, args.scale, 1);
  group.end_write(translation, args.translation, 3);
  group.end_write(conditioning, args.conditioning, 1);
}

template <typename T>
void aligned_group(const ProcrustesAligned<element_t<T>>& args, Group<T> group) {
  using S = element_t<T>;
  const int64_t N = args.num_points;
  SimilarityFit<T> found;
  found.R = get_matrix<T>(group.read(args.rotation, 9));
  found.k = get<T>(group.read(args.scale, 1), 0);
  found.t = get_vector<T>(group.read(args.translation, 3), 0);
  const S* const source = group.read(args.source, 3 * N);
  S* const aligned = group.begin_write(args.aligned, 3 * N);
  for (int64_t n = 0; n < N; ++n) put(aligned, n, align(found, get_vector<T>(source, n)));
  group.end_write(aligned, args.aligned, 3 * N);
}

template <typename T, bool Weighted>
void backward_group(const ProcrustesBackward<element_t<T>>& args, Group<T> group) {
  using S = element_t<T>;
  const int64_t N = args.sets.num_points;
  const HeldPoints<T, Weighted> points(group, args.sets);
  const Moments<T> moments = gather_moments(points);

  SimilarityGradient<T> upstream;
  upstream.R =
      args.grad_rotation ? get_matrix<T>(group.read(args.grad_rotation, 9)) : zero_matrix<T>();
  upstream.k = args.grad_scale ? get<T>(group.read(args.grad_scale, 1), 0) : T(S(0));
  upstream.t = args.grad_translation ? get_vector<T>(group.read(args.grad_translation, 3), 0)
                                     : zero_vector<T>();
  const S* const grad_aligned = args.grad_aligned ? group.read(args.grad_aligned, 3 * N) : nullptr;
  if (grad_aligned != nullptr)
    for (int64_t n = 0; n < N; ++n)
      upstream.absorb(get_vector<T>(grad_aligned, n), moments.centred(points, n).x);

  const SimilarityPullBack<T> pull_back(
      moments, get_matrix<T>(group.read(args.rotation, 9)), get<T>(group.read(args.scale, 1), 0),
      get<T>(group.read(args.conditioning, 1), 0), upstream, args.with_scale);
  S* const grad_source = args.grad_source ? group.begin_write(args.grad_source, 3 * N) : nullptr;
  S* const grad_target = args.grad_target ? group.begin_write(args.grad_target, 3 * N) : nullptr;
  S* const grad_weights = args.grad_weights ? group.begin_write(args.grad_weights, N) : nullptr;
  for (int64_t n = 0; n < N; ++n) {
    const Vec3<T> ga = grad_aligned != nullptr ? get_vector<T>(grad_aligned, n) : zero_vector<T>();
    const PairGradient<T> gradient = pull_back(moments.centred(points, n), ga);
    if (grad_source != nullptr) put(grad_source, n, gradient.x);
    if (grad_target != nullptr) put(grad_target, n, gradient.y);
    if (grad_weights != nullptr) put(grad_weights, n, gradient.weight);
  }
  if (grad_source != nullptr) group.end_write(grad_source, args.grad_source, 3 * N);
  if (grad_target != nullptr) group.end_write(grad_target, args.grad_target, 3 * N);
  if (grad_weights != nullptr) group.end_write(grad_weights, args.grad_weights, N);
}

}  // namespace

template <typename S>
void procrustes_forward_cpu(const ProcrustesForward<S>& args, int64_t begin, int64_t end) {
  for_each_group<S, 7, kPerSample>(args.sets.num_points, begin, end,
                                   [&]<typename T>(Group<T> group) {
                                     if (args.sets.weights != nullptr)
                                       forward_group<T, true>(args, group);
                                     else
                                       forward_group<T, false>(args, group);
                                   });
}

template <typename S>
void procrustes_aligned_cpu(const ProcrustesAligned<S>& args, int64_t begin, int64_t end) {
  for_each_group<S, 6, kPerSample>(args.num_points, begin, end, [&]<typename T>(Group<T> group) {
    aligned_group<T>(args, group);
  });
}

template <typename S>
void procrustes_backward_cpu(const ProcrustesBackward<S>& args, int64_t begin, int64_t end) {
  for_each_group<S, 17, kPerSample>(args.sets.num_points, begin, end,
                                    [&]<typename T>(Group<T> group) {
                                      if (args.sets.weights != nullptr)
                                        backward_group<T, true>(args, group);
                                      else
                                        backward_group<T, false>(args, group);
                                    });
}

#define PYHANDPOSE_INSTANTIATE(S)                                                         \
  template void procrustes_forward_cpu<S>(const ProcrustesForward<S>&, int64_t, int64_t); \
  template void procrustes_aligned_cpu<S>(const ProcrustesAligned<S>&, int64_t, int64_t); \
  template void procrustes_backward_cpu<S>(const ProcrustesBackward<S>&, int64_t, int64_t);
PYHANDPOSE_INSTANTIATE(double)
PYHANDPOSE_INSTANTIATE(float)
#undef PYHANDPOSE_INSTANTIATE

}  // namespace pyhandpose::PYHANDPOSE_ISA
