// Turns a recorded program into stages with their memory: fuses residual sums into linears, groups row-wise operations
// that need no barrier between them, and lets buffers that don't live at the same time share memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "program.h"

namespace inglenook {

// A linear's input in the forms of PreparedRows. Room for all forms is planned whatever the weights turn out to be, so
// that the plan doesn't depend on their formats; an offset is -1 where the width rules a form out.
struct PreparedInput {
  View x;
  int32_t bf16 = -1, codes = -1, scales = -1, sums = -1;  // blocks
};

struct Block {  // of the arena; lives from stage `first` to stage `last`
  int64_t row_bytes;
  Rows rows;
  int32_t first = -1, last = -1;
  size_t offset = 0;
};

enum class StageKind : uint8_t {
  rows,    // its operations in order on each range of rows
  linear,  // one
  gated,   // a linear of two weights of one shape, the act_mul of its halves, the prepare of the result for a linear
  attend,  // one
};

struct Stage {
  StageKind kind;
  Rows rows;
  int32_t op_begin, op_end;
  bool keeps_result = true;  // gated: somebody reads the act_mul's result as it is, not only its prepared form
};

struct Plan {
  std::vector<Op> ops;
  std::vector<Stage> stages;
  std::vector<Block> blocks;
  std::vector<int32_t> buffer_blocks;      // buffer -> block; -1 where the buffer was fused away
  std::vector<int32_t> rope_table_blocks;  // table -> block: cosines [rows, pairs], then sines
  std::vector<PreparedInput> prepared;
  View output;
  size_t arena_bytes = 0;
};

Plan make_plan(const Program& program, int64_t max_num_tokens, int64_t max_num_selected);

}  // namespace inglenook
