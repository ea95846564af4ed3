// CPU kernels of procrustes: one sample a lane. A group of as many samples as a register holds is
// transposed into a buffer that stays in the first-level cache, and the same maths runs on all of
// them. Sets too large for the buffer are read in place, one sample after another.
#include "../../common/lane_rows.h"
#include "procrustes.h"
#include "procrustes_math.h"

namespace pyhandpose::PYHANDPOSE_ISA {
namespace {

constexpr int64_t kMaxLanePoints = 64;

// Out of line, or their unrolled squares would be repeated for each tensor.
template <typename S>
__attribute__((noinline)) void gather_lanes(const S* rows, int64_t length, int64_t valid,
                                            S* lanes) {
  rows_to_lanes(rows, length, valid, lanes);
}
template <typename S>
__attribute__((noinline)) void scatter_lanes(const S* lanes, int64_t length, int64_t valid,
                                             S* rows) {
  lanes_to_rows(lanes, length, valid, rows);
}

// Where a group of samples is held: T = Lanes<S> in a buffer, entry by entry; T = S in the tensor.
template <typename T>
struct Group {
  using S = element_t<T>;
  static constexpr bool kInPlace = sizeof(T) == sizeof(S);
  static constexpr int64_t kCount = sizeof(T) / sizeof(S);

  S* unused;  // of the buffer
  int64_t first, valid;

  PYHANDPOSE_HD S* take(int64_t length) {
    S* const taken = unused;
    unused += length * kCount;
    return taken;
  }
  PYHANDPOSE_HD const S* read(const S* tensor, int64_t length) {
    if constexpr (kInPlace) {
      return tensor + first * length;
    } else {
      S* const lanes = take(length);
      gather_lanes(tensor + first * length, length, valid, lanes);
      return lanes;
    }
  }
  PYHANDPOSE_HD S* begin_write(S* tensor, int64_t length) {
    if constexpr (kInPlace)
      return tensor + first * length;
    else
      return take(length);
  }
  PYHANDPOSE_HD void end_write(const S* written, S* tensor, int64_t length) {
    if constexpr (!kInPlace) scatter_lanes(written, length, valid, tensor + first * length);
  }
};

template <typename T>
PYHANDPOSE_HD T get(const element_t<T>* held, int64_t index) {
  if constexpr (Group<T>::kInPlace)
    return held[index];
  else
    return T::load(held + index * T::kCount);
}
template <typename T>
PYHANDPOSE_HD Vec3<T> get_vector(const element_t<T>* held, int64_t index) {
  return {get<T>(held, 3 * index), get<T>(held, 3 * index + 1), get<T>(held, 3 * index + 2)};
}
template <typename T>
PYHANDPOSE_HD Mat3<T> get_matrix(const element_t<T>* held) {
  return {{get<T>(held, 0), get<T>(held, 3), get<T>(held, 6)},
          {get<T>(held, 1), get<T>(held, 4), get<T>(held, 7)},
          {get<T>(held, 2), get<T>(held, 5), get<T>(held, 8)}};
}

template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, int64_t index, T value) {
  if constexpr (Group<T>::kInPlace)
    held[index] = value;
  else
    value.store(held + index * T::kCount);
}
template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, int64_t index, Vec3<T> value) {
  put(held, 3 * index, value.x);
  put(held, 3 * index + 1, value.y);
  put(held, 3 * index + 2, value.z);
}
template <typename T>
PYHANDPOSE_HD void put(element_t<T>* held, const Mat3<T>& value) {
  put(held, 0, Vec3<T>{value.x.x, value.y.x, value.z.x});
  put(held, 1, Vec3<T>{value.x.y, value.y.y, value.z.y});
  put(held, 2, Vec3<T>{value.x.z, value.y.z, value.z.z});
}

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

// Calls run(Group) for the samples of [begin, end), in lanes where a group's rows fit the buffer:
// kRowsPerPoint numbers for each point and 32 for each sample.
template <int kRowsPerPoint, typename S, typename F>
PYHANDPOSE_HD void for_each_group(int64_t num_points, int64_t begin, int64_t end, F run) {
  if (num_points <= kMaxLanePoints) {
    constexpr int64_t kCount = Lanes<S>::kCount;
    alignas(64) S buffer[(kRowsPerPoint * kMaxLanePoints + 32) * kCount];
    for (int64_t first = begin; first < end; first += kCount)
      run(Group<Lanes<S>>{buffer, first, end - first < kCount ? end - first : kCount});
  } else {
    for (int64_t first = begin; first < end; ++first) run(Group<S>{nullptr, first, 1});
  }
}

}  // namespace

template <typename S>
void procrustes_forward_cpu(const ProcrustesForward<S>& args, int64_t begin, int64_t end) {
  for_each_group<7, S>(args.sets.num_points, begin, end, [&]<typename T>(Group<T> group) {
    if (args.sets.weights != nullptr)
      forward_group<T, true>(args, group);
    else
      forward_group<T, false>(args, group);
  });
}

template <typename S>
void procrustes_aligned_cpu(const ProcrustesAligned<S>& args, int64_t begin, int64_t end) {
  for_each_group<6, S>(args.num_points, begin, end,
                       [&]<typename T>(Group<T> group) { aligned_group<T>(args, group); });
}

template <typename S>
void procrustes_backward_cpu(const ProcrustesBackward<S>& args, int64_t begin, int64_t end) {
  for_each_group<17, S>(args.sets.num_points, begin, end, [&]<typename T>(Group<T> group) {
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
