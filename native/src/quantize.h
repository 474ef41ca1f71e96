// Quantises float weights while they are loaded.
#pragma once

#include <cstdint>

#include "block_formats.h"

namespace inglenook {

// Groups of 32 weights of 16 rows at once: values[i][r] is input i of row r, groups[r] its group. Scales and minimums
// are values that binary16 holds. All values are finite.
using TileGroup = float[32][16];

// 8 bits, scale * (code - 128), |code - 128| <= 127.
void quantize_q8(const TileGroup& values, Group* groups);
// 4 bits, scale * code + minimum: the pair with the least squared error of those tried.
void quantize_q4(const TileGroup& values, Group* groups);

}  // namespace inglenook
