// How the rows of a linear are cut for several threads.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace inglenook {

// Blocks of rows that different threads may take of one range of tiles: many rows alone take long enough that the
// last chunk of tiles would keep others waiting.
constexpr int64_t kRowsOfBlock = 5 * kRowUnit;
constexpr int64_t num_row_blocks(int64_t num_rows) { return std::max<int64_t>(1, num_rows / kRowsOfBlock); }
constexpr Range row_block(int64_t num_rows, int64_t block) {
  const bool is_last = block + 1 == num_row_blocks(num_rows);
  return {block * kRowsOfBlock, is_last ? num_rows : (block + 1) * kRowsOfBlock};
}

}  // namespace inglenook
