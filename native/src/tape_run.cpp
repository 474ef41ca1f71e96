// Running a step: from a chunk of a stage to the kernels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tape.h"

namespace inglenook {

const float* Tape::run(const Step& step) {
  if (cache_.data() == nullptr) throw std::invalid_argument("The executor is closed.");
  check_step(step, {limits_.max_num_tokens, limits_.max_num_selected, program_.vocabulary, cache_layout_.num_blocks,
                    cache_layout_.block_size, program_.max_positions, program_.num_token_types,
                    program_.needs_whole_sequences});
  step_ = step;
  find_last_keys();
  plan_chunks();
  pool_->run(*this, num_chunks_.data(), static_cast<int>(num_chunks_.size()),
            profile_ == nullptr ? nullptr : profile_->opened.data());
  if (profile_ != nullptr) profile_->add_step(step.num_tokens);
  return at(plan_.output);
}

void Tape::run_chunk(int index, int chunk, int thread) noexcept {
  const Stage& stage = plan_.stages[index];
  const Op& op = plan_.ops[stage.op_begin];
  if (stage.kind == StageKind::linear || stage.kind == StageKind::gated) return run_linear(index, chunk, thread);
  if (stage.kind == StageKind::attend) return run_attend(op, index, chunk, thread);
  const int64_t rows = num_rows(stage.rows), chunks = num_chunks_[index];
  const int64_t row_begin = rows * chunk / chunks, row_end = rows * (chunk + 1) / chunks;
  for (int32_t i = stage.op_begin; i < stage.op_end; ++i) run_rows(plan_.ops[i], row_begin, row_end);
}

void Tape::run_rows(const Op& op, int64_t row_begin, int64_t row_end) {
  switch (op.kind) {
    case OpKind::embed:
      return run_embed(op, row_begin, row_end);
    case OpKind::rms_norm:
      return kernels_.rms_norm(at(op.x), stride(op.x), vectors_[op.weights[0]], op.factor, op.x.width, at(op.out),
                               stride(op.out), row_begin, row_end);
    case OpKind::layer_norm:
      return kernels_.layer_norm(at(op.x), stride(op.x), vectors_[op.weights[0]],
                                 op.biases[0] < 0 ? nullptr : vectors_[op.biases[0]], op.factor, op.x.width, at(op.out),
                                 stride(op.out), row_begin, row_end);
    case OpKind::rope: {
      const RopeTable& table = program_.rope_tables[op.index];
      const int64_t num_pairs = static_cast<int64_t>(table.frequencies.size());
      const float* cosines = block<float>(plan_.rope_table_blocks[op.index]);
      return kernels_.rope(at(op.out), stride(op.out), op.out.width / op.head_dim, op.head_dim, num_pairs,
                           table.interleaved, cosines, cosines + limits_.max_num_tokens * num_pairs, row_begin,
                           row_end);
    }
    case OpKind::rope_table:
      return fill_rope_table(op, row_begin, row_end);
    case OpKind::store_kv:
      return kernels_.store_kv(attention_args(op), row_begin, row_end);
    case OpKind::act_mul:
      return kernels_.act_mul(op.activation, at(op.x), stride(op.x), at(op.y), stride(op.y), op.out.width, at(op.out),
                              stride(op.out), row_begin, row_end);
    case OpKind::act:
      return kernels_.act(op.activation, at(op.x), stride(op.x), op.out.width, at(op.out), stride(op.out), row_begin,
                          row_end);
    case OpKind::add:
      return kernels_.add(at(op.x), stride(op.x), at(op.y), stride(op.y), op.out.width, at(op.out), stride(op.out),
                          row_begin, row_end);
    case OpKind::scale:
      return kernels_.scale(at(op.x), stride(op.x), op.factor, op.out.width, at(op.out), stride(op.out), row_begin,
                            row_end);
    case OpKind::softcap:
      return kernels_.softcap(at(op.x), stride(op.x), op.factor, op.out.width, at(op.out), stride(op.out), row_begin,
                              row_end);
    case OpKind::select_rows:
      for (int64_t row = row_begin; row < row_end; ++row)
        std::memcpy(at(op.out) + row * stride(op.out), at(op.x) + step_.selected_rows[row] * stride(op.x),
                    sizeof(float) * op.out.width);
      return;
    case OpKind::pool:
      return run_pool(op, row_begin, row_end);
    case OpKind::prepare:
      return run_prepare(op, prepared(op.index), {row_begin, row_end}, {0, op.x.width});
    case OpKind::linear:
    case OpKind::attention:
      return;  // stages of their own
  }
}

void Tape::run_embed(const Op& op, int64_t row_begin, int64_t row_end) {
  const auto index = static_cast<EmbedIndex>(op.index);
  const int32_t* indices = index == EmbedIndex::token_ids   ? step_.token_ids
                           : index == EmbedIndex::positions ? step_.positions
                                                            : step_.token_type_ids;
  for (int64_t row = row_begin; row < row_end; ++row)
    kernels_.embed_row(matrices_[op.weights[0]], op.first_row + (indices == nullptr ? 0 : indices[row]),
                       at(op.out) + row * stride(op.out));
}

void Tape::run_pool(const Op& op, int64_t row_begin, int64_t row_end) {
  const int32_t* starts_end = step_.query_starts + step_.num_sequences + 1;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int32_t last = step_.selected_rows[row];
    const int32_t first = *(std::upper_bound(step_.query_starts, starts_end, last) - 1);
    kernels_.pool(op.pool_mode, at(op.x) + first * stride(op.x), stride(op.x), last + 1 - first, op.out.width,
                  at(op.out) + row * stride(op.out));
  }
}

// The angle is taken in double precision: at large positions a float32 product is off by thousandths.
void Tape::fill_rope_table(const Op& op, int64_t row_begin, int64_t row_end) {
  const RopeTable& table = program_.rope_tables[op.index];
  const int64_t num_pairs = static_cast<int64_t>(table.frequencies.size());
  float* cosines = block<float>(plan_.rope_table_blocks[op.index]);
  float* sines = cosines + limits_.max_num_tokens * num_pairs;
  for (int64_t row = row_begin; row < row_end; ++row)
    for (int64_t i = 0; i < num_pairs; ++i) {
      const double angle = step_.positions[row] * table.frequencies[i];
      cosines[row * num_pairs + i] = static_cast<float>(std::cos(angle) * table.scale);
      sines[row * num_pairs + i] = static_cast<float>(std::sin(angle) * table.scale);
    }
}

}  // namespace inglenook
