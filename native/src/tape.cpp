#include "tape.h"
#include "tape_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace inglenook {

namespace {

size_t block_bytes(const AttentionLayer& layer, const CacheLayout& cache) {  // of keys or values
  return static_cast<size_t>(layer.num_kv_heads * cache_record_bytes(cache.kind, layer.head_dim, cache.block_size));
}

size_t layer_bytes(const AttentionLayer& layer, const CacheLayout& cache) {
  return align_up(static_cast<size_t>(cache.num_blocks) * block_bytes(layer, cache));
}

struct AttentionSizes {  // the largest of any layer; the scratch is lent to gated linears, too
  int64_t scratch_floats = 0, partial_floats = 0, num_kv_heads = 0, max_partials = 0;
};

AttentionSizes attention_sizes(const Program& program, const CacheLayout& cache, int threads) {
  AttentionSizes sizes;
  sizes.scratch_floats = kGatedFloats;
  for (const AttentionLayer& layer : program.layers) {
    const int64_t group = layer.num_heads / layer.num_kv_heads;
    sizes.scratch_floats = std::max(sizes.scratch_floats, attend_scratch_floats(layer.head_dim));
    sizes.num_kv_heads = std::max(sizes.num_kv_heads, layer.num_kv_heads);
    if (group <= kAttendRows)
      sizes.partial_floats = std::max(sizes.partial_floats, attend_partial_floats(group, layer.head_dim));
  }
  sizes.scratch_floats = static_cast<int64_t>(align_up(sizes.scratch_floats, 16));
  // A context that fills the cache, or a few shorter ones: splitting is for when there are few.
  const int64_t partitions = (cache.num_blocks * cache.block_size + kPartitionKeys - 1) / kPartitionKeys;
  sizes.max_partials = sizes.num_kv_heads * (partitions + 2 * threads);
  return sizes;
}

size_t scratch_bytes(const AttentionSizes& sizes, int threads) {
  return static_cast<size_t>(sizes.scratch_floats * threads + sizes.max_partials * sizes.partial_floats) * 4;
}

size_t cache_bytes(const Program& program, const CacheLayout& cache) {
  size_t bytes = kAlignment;  // some, even without attention: a tape without a cache is a closed one
  int32_t num_caches = 0;
  for (const AttentionLayer& layer : program.layers) {
    if (layer.cache < num_caches) continue;
    bytes += 2 * layer_bytes(layer, cache);
    ++num_caches;
  }
  return bytes;
}

}  // namespace

TapeMemory Tape::memory(const Program& program, const CacheLayout& cache, const TapeLimits& limits) {
  const Plan plan = make_plan(program, limits.max_num_tokens, limits.max_num_selected);
  return {plan.arena_bytes, cache_bytes(program, cache),
          scratch_bytes(attention_sizes(program, cache, limits.threads), limits.threads)};
}

Tape::Tape(const Program& program, const CacheLayout& cache, const TapeLimits& limits, Isa isa,
           std::shared_ptr<ThreadPool> pool)
    : program_(program),
      plan_(make_plan(program, limits.max_num_tokens, limits.max_num_selected)),
      cache_layout_(cache),
      limits_(limits),
      kernels_(kernel_table(isa)),
      pool_(pool != nullptr ? std::move(pool) : std::make_shared<ThreadPool>(limits.threads)),
      matrices_(program.num_weights),
      vectors_(program.num_weights, nullptr),
      arena_(plan_.arena_bytes),
      cache_(cache_bytes(program, cache)),
      prepared_kinds_(plan_.prepared.size()),
      tile_bounds_(plan_.stages.size()),
      row_costs_(plan_.stages.size()),
      num_chunks_(plan_.stages.size()) {
  const AttentionSizes sizes = attention_sizes(program, cache, pool_->num_threads());
  scratch_ = Memory(scratch_bytes(sizes, pool_->num_threads()));
  scratch_floats_ = sizes.scratch_floats;
  partial_floats_ = sizes.partial_floats;
  max_partials_ = sizes.max_partials;
  max_num_kv_heads_ = sizes.num_kv_heads;
  partials_ = reinterpret_cast<float*>(scratch_.data()) + scratch_floats_ * pool_->num_threads();
  runs_left_ = std::make_unique<std::atomic<int32_t>[]>(max_partials_);
  size_t offset = 0;
  for (const AttentionLayer& layer : program.layers) {
    if (layer.cache == static_cast<int32_t>(cache_places_.size())) {
      cache_places_.push_back({offset, offset + layer_bytes(layer, cache), block_bytes(layer, cache)});
      offset += 2 * layer_bytes(layer, cache);
    }
    if (!layer.is_causal) last_keys_.resize(limits.max_num_tokens);
    const int64_t group = layer.num_heads / layer.num_kv_heads;
    const auto is_alike = [&](const AttendWork& w) { return w.group == group && w.is_causal == layer.is_causal; };
    if (std::any_of(attend_works_.begin(), attend_works_.end(), is_alike)) continue;
    attend_works_.push_back({group, layer.is_causal, false, 1, {}});
    attend_works_.back().pieces.reserve(limits.max_num_tokens);
  }
}

void Tape::finish() {
  for (size_t stage = 0; stage < plan_.stages.size(); ++stage) plan_tiles(static_cast<int>(stage));
  for (size_t stage = 0; stage < plan_.stages.size(); ++stage) row_costs_[stage] = row_cost(plan_.stages[stage]);
}

void Tape::copy_blocks(const std::vector<std::pair<int32_t, int32_t>>& copies) {
  if (cache_.data() == nullptr) throw std::invalid_argument("The executor is closed.");
  const auto is_block = [&](int32_t block) { return block >= 0 && block < cache_layout_.num_blocks; };
  for (const auto& [source, target] : copies)
    if (!is_block(source) || !is_block(target)) throw std::invalid_argument("Bad copy: the cache has no such block.");
  for (const CachePlace& place : cache_places_)
    for (const size_t offset : {place.keys, place.values})
      for (const auto& [source, target] : copies)
        if (source != target)
          std::memcpy(cache_.data() + offset + target * place.block_bytes,
                      cache_.data() + offset + source * place.block_bytes, place.block_bytes);
}

void Tape::close() {
  pool_->close();
  cache_ = Memory();
}

// --- where things lie ----------------------------------------------------------------------------------------------

float* Tape::at(const View& view) const { return block<float>(plan_.buffer_blocks[view.buffer]) + view.offset; }

int64_t Tape::stride(const View& view) const { return program_.buffers[view.buffer].width; }

int64_t Tape::output_stride() const { return stride(plan_.output); }

PreparedRows Tape::prepared(int32_t index) const {
  const PreparedInput& input = plan_.prepared[index];
  PreparedRows rows;
  rows.x = at(input.x);
  rows.x_stride = stride(input.x);
  rows.bf16 = block<uint16_t>(input.bf16);
  rows.codes = block<int8_t>(input.codes);
  rows.scales = block<float>(input.scales);
  rows.sums = block<int32_t>(input.sums);
  rows.num_rows = num_rows(program_.buffers[input.x.buffer].rows);
  rows.in_features = input.x.width;
  return rows;
}

// --- how a step is cut into chunks -----------------------------------------------------------------------------------

// A measure of the work in one row of a rows stage: values that are written, exponentials counted as several. 0 where
// there is nothing to do: a linear's input that its weights read as it is.
int64_t Tape::row_cost(const Stage& stage) const {
  int64_t cost = 0;
  for (int32_t i = stage.op_begin; i < stage.op_end; ++i) {
    const Op& op = plan_.ops[i];
    if (op.kind == OpKind::rope_table)
      cost += 128 * static_cast<int64_t>(program_.rope_tables[op.index].frequencies.size());
    else if (op.kind == OpKind::act_mul || op.kind == OpKind::act || op.kind == OpKind::softcap)
      cost += 4 * op.out.width;
    else if (op.kind == OpKind::pool)
      cost += 16 * op.out.width;  // a short text's rows
    else if (op.kind == OpKind::store_kv)
      cost += 2 * op.y.width;
    else if (op.kind == OpKind::prepare)
      cost += prepared_kinds_[op.index].bf16 || prepared_kinds_[op.index].quantized ? op.x.width : 0;
    else
      cost += op.out.width;
  }
  return cost;
}

int32_t Tape::chunks_of(const Stage& stage, int index) const {
  const int64_t rows = num_rows(stage.rows);
  if (rows == 0) return 0;
  if (stage.kind == StageKind::linear || stage.kind == StageKind::gated)
    return static_cast<int32_t>((tile_bounds_[index].size() - 1) * num_row_blocks(rows));
  if (row_costs_[index] == 0) return 0;
  constexpr int64_t kCostOfChunk = 6000;  // about a microsecond; handing a chunk over costs a tenth of that
  const int64_t by_cost = rows * row_costs_[index] / kCostOfChunk;
  return static_cast<int32_t>(std::clamp<int64_t>(by_cost, 1, std::min<int64_t>(rows, 4 * pool_->num_threads())));
}

void Tape::plan_chunks() {
  for (AttendWork& work : attend_works_) plan_attend(work);
  for (size_t i = 0; i < plan_.stages.size(); ++i) {
    const Stage& stage = plan_.stages[i];
    if (stage.kind != StageKind::attend) {
      num_chunks_[i] = chunks_of(stage, static_cast<int>(i));
      continue;
    }
    const int32_t layer = plan_.ops[stage.op_begin].index;
    num_chunks_[i] = attend_chunks(attend_work(layer), program_.layers[layer]);
  }
}

}  // namespace inglenook
