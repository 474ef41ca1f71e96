// The input of one step (StepInput of src/inglenook/ops/executor.py), checked before any kernel trusts it.
#pragma once

#include <cstdint>

namespace inglenook {

struct Step {
  int64_t num_tokens, num_sequences, num_selected, max_blocks;
  const int32_t* token_ids;        // [num_tokens]
  const int32_t* positions;        // [num_tokens]
  const int32_t* slot_mapping;     // [num_tokens]
  const int32_t* query_starts;     // [num_sequences + 1]
  const int32_t* context_lengths;  // [num_sequences]
  const int32_t* block_tables;     // [num_sequences, max_blocks]
  const int32_t* selected_rows;    // [num_selected]
  const int32_t* token_type_ids;   // [num_tokens], or null: all 0
};

struct StepLimits {
  int64_t max_num_tokens, max_num_selected, vocabulary, num_blocks, block_size;
  int64_t max_positions;    // 0: as many as one likes
  int64_t num_token_types;  // 0: none are read
  bool needs_whole_sequences;
};

// Throws std::invalid_argument that names the array and the value.
void check_step(const Step& step, const StepLimits& limits);

}  // namespace inglenook
