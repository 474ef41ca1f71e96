#include "step_layout.h"

#include <algorithm>
#include <stdexcept>

namespace inglenook {

StepSizes step_sizes(const StepChunks& chunks, int64_t num_token_ids, int64_t num_rows, int64_t blocks_per_row,
                     int64_t block_size) {
  const size_t num_chunks = chunks.rows.size();
  if (chunks.starts.size() != num_chunks || chunks.counts.size() != num_chunks ||
      chunks.num_selected.size() != num_chunks)
    throw std::invalid_argument("a step's chunks need a row, a start, a count and a number of selected tokens each");
  StepSizes sizes{0, static_cast<int64_t>(num_chunks), 0, 0};
  for (size_t i = 0; i < num_chunks; ++i) {
    const int64_t end = int64_t{chunks.starts[i]} + chunks.counts[i];
    const bool is_sound = chunks.rows[i] >= 0 && chunks.rows[i] < num_rows && chunks.starts[i] >= 0 &&
                          chunks.counts[i] > 0 && end <= blocks_per_row * block_size && chunks.num_selected[i] >= 0 &&
                          chunks.num_selected[i] <= chunks.counts[i];
    if (!is_sound) throw std::invalid_argument("a chunk reaches outside of the block tables or of its own tokens");
    sizes.num_tokens += chunks.counts[i];
    sizes.num_selected += chunks.num_selected[i];
    sizes.max_blocks = std::max(sizes.max_blocks, (end + block_size - 1) / block_size);
  }
  if (sizes.num_tokens != num_token_ids) throw std::invalid_argument("there must be a token id for each token");
  return sizes;
}

void lay_out_step(const StepChunks& chunks, const StepSizes& sizes, const int32_t* token_ids,
                  const int32_t* block_tables, int64_t blocks_per_row, int64_t block_size, int32_t* out) {
  int32_t* positions = std::copy_n(token_ids, sizes.num_tokens, out);
  int32_t* slots = positions + sizes.num_tokens;
  int32_t* query_starts = slots + sizes.num_tokens;
  int32_t* context_lengths = query_starts + sizes.num_sequences + 1;
  int32_t* tables = context_lengths + sizes.num_sequences;
  int32_t* selected = tables + sizes.num_sequences * sizes.max_blocks;
  int32_t token = 0;
  *query_starts++ = 0;
  for (size_t i = 0; i < chunks.rows.size(); ++i) {
    const int32_t* table = block_tables + chunks.rows[i] * blocks_per_row;
    const int32_t end = token + chunks.counts[i];
    for (int64_t position = chunks.starts[i]; token < end; ++token, ++position) {
      *positions++ = static_cast<int32_t>(position);
      *slots++ = static_cast<int32_t>(table[position / block_size] * block_size + position % block_size);
    }
    *query_starts++ = end;
    *context_lengths++ = chunks.starts[i] + chunks.counts[i];
    tables = std::copy_n(table, sizes.max_blocks, tables);
    for (int32_t row = end - chunks.num_selected[i]; row < end; ++row) *selected++ = row;
  }
}

}  // namespace inglenook
