// Lays the chunks of a step out flat, as the tape reads them (struct Step).
#pragma once

#include <cstdint>
#include <vector>

namespace inglenook {

// Of each sequence: its row of the block tables, and which of its tokens are computed: [start, start + count). The
// last num_selected of them get logits.
struct StepChunks {
  const std::vector<int32_t>& rows;
  const std::vector<int32_t>& starts;
  const std::vector<int32_t>& counts;
  const std::vector<int32_t>& num_selected;
};

struct StepSizes {
  int64_t num_tokens, num_sequences, num_selected, max_blocks;
  int64_t total() const { return 3 * num_tokens + 2 * num_sequences + 1 + num_sequences * max_blocks + num_selected; }
};

// Throws std::invalid_argument where the chunks don't fit together or reach outside of tables of this shape.
StepSizes step_sizes(const StepChunks& chunks, int64_t num_token_ids, int64_t num_rows, int64_t blocks_per_row,
                     int64_t block_size);

// Fills out[sizes.total()] with, one after another: token ids, positions, slot mapping, query starts, context lengths,
// block tables, selected rows.
void lay_out_step(const StepChunks& chunks, const StepSizes& sizes, const int32_t* token_ids,
                  const int32_t* block_tables, int64_t blocks_per_row, int64_t block_size, int32_t* out);

}  // namespace inglenook
