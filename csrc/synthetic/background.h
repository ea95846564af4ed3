// What is behind the hand.
#pragma once

#include <cstdint>
#include <vector>

#include "scene.h"

namespace pyhandpose::synthetic {

// Fills `pixels` (size * size, linear RGB). studio: a plain backdrop with a gradient. wild: dead
// leaves (Lee, Mumford and Huang, IJCV 2001: overlapping shapes whose sizes follow a power law,
// with the statistics of natural pictures), gradients with noise, or stripes.
void draw_background(uint64_t seed, uint64_t index, Look look, int size,
                     std::vector<Vec3f>* pixels);

}  // namespace pyhandpose::synthetic
