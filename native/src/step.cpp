#include "step.h"

#include <stdexcept>
#include <string>

namespace inglenook {

namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("Bad step: " + what + "."); }

std::string at(const char* name, int64_t index, int64_t value) {
  return std::string(name) + "[" + std::to_string(index) + "] is " + std::to_string(value);
}

void check_in(const char* name, int64_t index, int64_t value, int64_t low, int64_t end) {
  if (value < low || value >= end)
    refuse(at(name, index, value) + "; it must be in [" + std::to_string(low) + ", " + std::to_string(end) + ")");
}

void check_count(const char* name, int64_t count, int64_t most) {
  if (count > most)
    refuse(std::to_string(count) + " " + name + "; at most " + std::to_string(most) + " are planned for");
}

void check_sequence(const Step& step, const StepLimits& limits, int64_t sequence) {
  const int64_t begin = step.query_starts[sequence], end = step.query_starts[sequence + 1];
  const int64_t context = step.context_lengths[sequence];
  check_in("query_starts", sequence + 1, end, begin, step.num_tokens + 1);
  check_in("context_lengths", sequence, context, end - begin, step.max_blocks * limits.block_size + 1);
  if (begin == end) return;
  if (limits.max_positions > 0) check_in("context_lengths", sequence, context, 1, limits.max_positions + 1);
  if (limits.needs_whole_sequences && context != end - begin)
    refuse(at("context_lengths", sequence, context) + "; the step has " + std::to_string(end - begin) +
           " of the sequence's tokens and must have all");
  const int32_t* table = step.block_tables + sequence * step.max_blocks;
  for (int64_t block = 0; block * limits.block_size < context; ++block)
    check_in("block_tables", sequence * step.max_blocks + block, table[block], 0, limits.num_blocks);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t position = context - (end - row);
    if (step.positions[row] != position)
      refuse(at("positions", row, step.positions[row]) + "; its sequence's context length makes it " +
             std::to_string(position));
    const int64_t slot = table[position / limits.block_size] * limits.block_size + position % limits.block_size;
    if (step.slot_mapping[row] != slot)
      refuse(at("slot_mapping", row, step.slot_mapping[row]) + "; its block table makes it " + std::to_string(slot));
  }
}

}  // namespace

void check_step(const Step& step, const StepLimits& limits) {
  if (step.num_tokens == 0) refuse("it has no tokens");
  check_count("tokens", step.num_tokens, limits.max_num_tokens);
  check_count("selected rows", step.num_selected, limits.max_num_selected);
  for (int64_t row = 0; row < step.num_tokens; ++row)
    check_in("token_ids", row, step.token_ids[row], 0, limits.vocabulary);
  for (int64_t row = 0; step.token_type_ids != nullptr && limits.num_token_types > 0 && row < step.num_tokens; ++row)
    check_in("token_type_ids", row, step.token_type_ids[row], 0, limits.num_token_types);
  check_in("query_starts", 0, step.query_starts[0], 0, 1);
  for (int64_t sequence = 0; sequence < step.num_sequences; ++sequence) check_sequence(step, limits, sequence);
  if (step.query_starts[step.num_sequences] != step.num_tokens)
    refuse(at("query_starts", step.num_sequences, step.query_starts[step.num_sequences]) + "; there are " +
           std::to_string(step.num_tokens) + " tokens");
  for (int64_t i = 0; i < step.num_selected; ++i)
    check_in("selected_rows", i, step.selected_rows[i], i > 0 ? step.selected_rows[i - 1] + 1 : 0, step.num_tokens);
}

}  // namespace inglenook
