// Attention in a step: how it is cut into items for the threads, and from an item to the kernels.
#include <algorithm>
#include <cstring>

#include "tape.h"

namespace inglenook {

AttentionArgs Tape::attention_args(const Op& op) const {
  const AttentionLayer& layer = program_.layers[op.index];
  AttentionArgs args{};
  args.num_heads = layer.num_heads;
  args.num_kv_heads = layer.num_kv_heads;
  args.head_dim = layer.head_dim;
  args.block_size = cache_layout_.block_size;
  args.scale = layer.scale;
  args.sliding_window = layer.sliding_window;
  args.softcap = layer.softcap;
  args.cache_kind = cache_layout_.kind;
  args.keys = cache_.data() + cache_places_[layer.cache].keys;
  args.values = cache_.data() + cache_places_[layer.cache].values;
  args.k = at(op.y);
  args.k_stride = stride(op.y);
  args.v = at(op.z);
  args.v_stride = stride(op.z);
  if (op.kind == OpKind::attention) {
    args.q = at(op.x);
    args.q_stride = stride(op.x);
    args.out = at(op.out);
    args.out_stride = stride(op.out);
  }
  args.num_tokens = step_.num_tokens;
  args.slot_mapping = step_.slot_mapping;
  args.last_keys = last_keys(layer.is_causal);
  args.block_tables = step_.block_tables;
  args.max_blocks = step_.max_blocks;
  return args;
}

Tape::AttendWork& Tape::attend_work(int64_t layer) {
  const AttentionLayer& heads = program_.layers[layer];
  const int64_t group = heads.num_heads / heads.num_kv_heads;
  return *std::find_if(attend_works_.begin(), attend_works_.end(), [&](const AttendWork& work) {
    return work.group == group && work.is_causal == heads.is_causal;
  });
}

// A token of a layer that isn't causal sees its whole sequence.
void Tape::find_last_keys() {
  if (last_keys_.empty()) return;
  for (int64_t sequence = 0; sequence < step_.num_sequences; ++sequence)
    std::fill(last_keys_.begin() + step_.query_starts[sequence], last_keys_.begin() + step_.query_starts[sequence + 1],
              step_.context_lengths[sequence] - 1);
}

void Tape::plan_attend(AttendWork& work) {
  const int64_t step_tokens = std::max<int64_t>(1, kAttendRows / work.group);
  work.pieces.clear();
  int32_t num_partitions = 0;
  work.are_single = work.group <= kAttendRows;
  for (int32_t sequence = 0; sequence < step_.num_sequences; ++sequence) {
    // The end of a prompt sees the most keys, so it goes first.
    for (int64_t end = step_.query_starts[sequence + 1]; end > step_.query_starts[sequence];) {
      const int64_t begin = std::max<int64_t>(step_.query_starts[sequence], end - step_tokens);
      const int32_t partitions = static_cast<int32_t>(last_keys(work.is_causal)[end - 1] / kPartitionKeys + 1);
      work.pieces.push_back({sequence, static_cast<int32_t>(begin), static_cast<int32_t>(end), num_partitions,
                             partitions});
      num_partitions += partitions;
      work.are_single &= end - begin == 1;
      end = begin;
    }
  }
  // A few long contexts are split into runs of partitions, about as many for each thread as there are chunks.
  const int64_t num_pieces = static_cast<int64_t>(work.pieces.size());
  const int64_t num_wanted = kDecodeChunks * pool_->num_threads();
  work.num_runs = 1;
  if (!work.are_single || num_partitions == num_pieces || num_partitions * max_num_kv_heads_ > max_partials_) return;
  work.num_runs = std::max<int64_t>(1, num_wanted / (num_pieces * max_num_kv_heads_));
  for (int64_t i = 0; i < num_pieces * max_num_kv_heads_; ++i) runs_left_[i] = static_cast<int32_t>(work.num_runs);
}

int32_t Tape::attend_chunks(const AttendWork& work, const AttentionLayer& layer) const {
  const int64_t num_items = static_cast<int64_t>(work.pieces.size()) * work.num_runs * layer.num_kv_heads;
  // The pieces of a prompt take longer and differ more.
  const int64_t chunks = (work.are_single ? kDecodeChunks : 32) * pool_->num_threads();
  return static_cast<int32_t>(std::min(num_items, chunks));
}

// Head by head, so that the pieces of a prompt find the keys and values of their head in a cache.
AttendItem Tape::attend_item(const AttendWork& work, const AttentionArgs& args, int64_t index) const {
  const int64_t run = index % work.num_runs, num_pieces = static_cast<int64_t>(work.pieces.size());
  const QueryPiece& piece = work.pieces[index / work.num_runs % num_pieces];
  const int64_t kv_head = index / work.num_runs / num_pieces;
  AttendItem item{piece.sequence, kv_head, piece.token_begin, piece.token_end, 0, 0, nullptr};
  if (work.num_runs == 1) return item;
  item.partition_begin = piece.num_partitions * run / work.num_runs;
  item.partition_end = piece.num_partitions * (run + 1) / work.num_runs;
  item.partials = partials_of(work, args, piece, kv_head) +
                  item.partition_begin * attend_partial_floats(work.group, args.head_dim);
  return item;
}

// The partials of one piece and kv head lie one after another.
float* Tape::partials_of(const AttendWork& work, const AttentionArgs& args, const QueryPiece& piece,
                         int64_t kv_head) const {
  const int64_t first = piece.first_partition * args.num_kv_heads + kv_head * piece.num_partitions;
  return partials_ + first * attend_partial_floats(work.group, args.head_dim);
}

void Tape::run_attend(const Op& op, int stage, int chunk, int thread) {
  const AttentionArgs args = attention_args(op);
  const AttendWork& work = attend_work(op.index);
  const int64_t num_items = static_cast<int64_t>(work.pieces.size()) * work.num_runs * args.num_kv_heads;
  const int64_t end = num_items * (chunk + 1) / num_chunks_[stage];
  float* scratch = scratch_of(thread);
  for (int64_t index = num_items * chunk / num_chunks_[stage]; index < end; ++index) {
    const AttendItem item = attend_item(work, args, index);
    kernels_.attend(args, item, index + 1 < end ? attend_item(work, args, index + 1) : item, scratch);
    if (work.num_runs > 1) finish_run(work, args, index / work.num_runs, scratch);
  }
}

// Whoever computes the last run of a piece and kv head merges all of its partials.
void Tape::finish_run(const AttendWork& work, const AttentionArgs& args, int64_t index, float* scratch) {
  std::atomic<int32_t>& left = runs_left_[index];
  if (left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  left.store(static_cast<int32_t>(work.num_runs), std::memory_order_relaxed);  // for the next layer
  const int64_t num_pieces = static_cast<int64_t>(work.pieces.size()), kv_head = index / num_pieces;
  const QueryPiece& piece = work.pieces[index % num_pieces];
  kernels_.merge_partitions(args, kv_head, piece.token_begin, partials_of(work, args, piece, kv_head),
                            piece.num_partitions, scratch);
}

}  // namespace inglenook
