// Counter-based random numbers: draw number n of stream (seed, sample, stream) is a hash of those
// four integers alone, so a sample never depends on which samples were made before it.
//
// Only integer operations and exact or correctly rounded floating-point operations are used (no
// libm), so every machine draws the same numbers.
#pragma once

#include <cstdint>

namespace pyhandpose::synthetic {

// Finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64 bits.
inline uint64_t mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// What a stream of numbers decides. A stream of its own for each keeps a change in how one thing
// is drawn from changing everything else.
enum class Stream : uint64_t {
  kProportions,
  kPose,
  kCamera,
  kLight,
  kSkin,
  kBackground,
  kOccluder,
  kSensor
};

class Random {
 public:
  Random(uint64_t seed, uint64_t sample, Stream stream)
      : key_(mix64(mix64(mix64(seed + kWeyl) + sample * kWeyl) +
                   (static_cast<uint64_t>(stream) + 1) * kWeyl)) {}

  uint64_t bits() { return mix64(key_ + ++counter_ * kWeyl); }

  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  // Uniform in {0, ..., count - 1}.
  int below(int count) { return static_cast<int>(uniform() * count); }

  bool chance(double probability) { return uniform() < probability; }

  // Close to normal with mean 0 and standard deviation 1, and never beyond 3.5: the scaled sum of
  // four uniforms, which needs no logarithm.
  double normal() {
    const double sum = uniform() + uniform() + uniform() + uniform();
    return (sum - 2.0) * 1.7320508075688772;
  }

 private:
  static constexpr uint64_t kWeyl = 0x9e3779b97f4a7c15ULL;
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace pyhandpose::synthetic
