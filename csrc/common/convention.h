// The three settings in which an affine is undone in the latent (docs/maths/latent_affine.md).
#pragma once

namespace pyhandpose {

enum class Convention { kPaper, kOfficial, kDirect };

}  // namespace pyhandpose
