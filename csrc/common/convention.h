// The three settings in which an affine is undone in the latent (docs/maths/latent_affine.md).
#pragma once

namespace pyhandpose {

enum class Convention { kPaper, kOfficial, kDirect };

template <Convention C>
struct ConventionTag {
  static constexpr Convention value = C;
};

// Calls f(ConventionTag<C>{}) for the convention C. Host code.
template <typename F>
inline __attribute__((always_inline)) void with_convention(Convention convention, F f) {
  switch (convention) {
    case Convention::kPaper:
      return f(ConventionTag<Convention::kPaper>{});
    case Convention::kOfficial:
      return f(ConventionTag<Convention::kOfficial>{});
    case Convention::kDirect:
      return f(ConventionTag<Convention::kDirect>{});
  }
}

}  // namespace pyhandpose
