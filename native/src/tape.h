// The tape: a planned program with its weights, memory and threads, replayed once per step.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "plan.h"
#include "profile.h"
#include "step.h"
#include "thread_pool.h"

namespace inglenook {

// What a thread needs for a gated linear: of some rows, 2 x kGatedTiles tiles of output. See tape_linear.cpp.
constexpr int64_t kGatedTiles = 16;
constexpr int64_t kGatedFloats = 2 * kRowUnit * (2 * kGatedTiles + 1) * kTileRows;

struct CacheLayout {
  int64_t num_blocks, block_size;
  CacheKind kind;
};

struct TapeLimits {
  int64_t max_num_tokens, max_num_selected;
  int threads;
};

// What a tape allocates besides weights, in bytes. `arena` holds buffers, `scratch` what attention needs per thread.
struct TapeMemory {
  size_t arena, cache, scratch;
  size_t total() const { return arena + cache + scratch; }
};

class Tape final : private StageRunner {
 public:
  // `pool`: threads of another tape, one of which runs at a time; nullptr: own ones, limits.threads.
  Tape(const Program& program, const CacheLayout& cache, const TapeLimits& limits, Isa isa,
       std::shared_ptr<ThreadPool> pool = nullptr);

  // What the constructor allocates.
  static TapeMemory memory(const Program& program, const CacheLayout& cache, const TapeLimits& limits);

  // Every slot is set once before the first run. The data stays the caller's, who keeps it alive.
  void set_matrix(int32_t slot, const PackedWeight& weight) { matrices_.at(slot) = weight; }
  void set_vector(int32_t slot, const float* values) { vectors_.at(slot) = values; }
  void finish();  // after the last weight

  // Returns the output, [num_selected, output_width], in the tape's memory: valid until the next run.
  const float* run(const Step& step);

  // Whole blocks of the cache, in all layers, one copy after another: (source, target). Between two runs.
  void copy_blocks(const std::vector<std::pair<int32_t, int32_t>>& copies);

  size_t memory_bytes() const { return arena_.size() + cache_.size() + scratch_.size(); }
  int64_t output_width() const { return plan_.output.width; }
  int64_t output_stride() const;
  const Plan& plan() const { return plan_; }

  // Times the stages from the next step on; costs nothing where it isn't called.
  void start_profile() { profile_ = std::make_unique<Profile>(plan_.stages.size()); }
  const Profile* profile() const { return profile_.get(); }

  const std::shared_ptr<ThreadPool>& pool() { return pool_; }
  // Frees cache and threads, not the weights; the arena stays, for those who still look at an output.
  void close();

 private:
  struct QueryPiece {  // tokens of one sequence that attention computes together
    int32_t sequence, token_begin, token_end;
    int32_t first_partition, num_partitions;  // first: counted over all pieces
  };
  struct AttendWork {  // of all layers whose heads are grouped alike
    int64_t group;
    bool is_causal;
    bool are_single;   // pieces are of one token
    int64_t num_runs;  // of partitions, into which each piece is split
    std::vector<QueryPiece> pieces;
  };

  void run_chunk(int stage, int chunk, int thread) noexcept override;
  void run_rows(const Op& op, int64_t row_begin, int64_t row_end);
  void run_linear(int stage, int chunk, int thread);
  void run_tiles(const Op& op, const Range& of_rows, const Range& of_tiles);
  void run_gated(const Stage& stage, const Range& of_rows, const Range& of_tiles, int thread);
  void run_gated_panels(const Stage& stage, const Range& of_rows, const Range& of_tiles, float* scratch);
  void run_prepare(const Op& op, PreparedRows rows, const Range& of_rows, const Range& of_inputs);
  void run_attend(const Op& op, int stage, int chunk, int thread);
  void finish_run(const AttendWork& work, const AttentionArgs& args, int64_t index, float* scratch);
  AttendItem attend_item(const AttendWork& work, const AttentionArgs& args, int64_t index) const;
  float* partials_of(const AttendWork& work, const AttentionArgs& args, const QueryPiece& piece, int64_t kv_head) const;
  void fill_rope_table(const Op& op, int64_t row_begin, int64_t row_end);

  void find_last_keys();
  const int32_t* last_keys(bool is_causal) const { return is_causal ? step_.positions : last_keys_.data(); }
  void run_embed(const Op& op, int64_t row_begin, int64_t row_end);
  void run_pool(const Op& op, int64_t row_begin, int64_t row_end);

  void plan_chunks();
  void plan_tiles(int stage);
  void plan_attend(AttendWork& work);
  int32_t attend_chunks(const AttendWork& work, const AttentionLayer& layer) const;
  int32_t chunks_of(const Stage& stage, int index) const;
  int64_t row_cost(const Stage& stage) const;

  int64_t num_rows(Rows rows) const { return rows == Rows::tokens ? step_.num_tokens : step_.num_selected; }
  float* at(const View& view) const;
  float* scratch_of(int thread) const { return reinterpret_cast<float*>(scratch_.data()) + thread * scratch_floats_; }
  int64_t stride(const View& view) const;
  template <class T>
  T* block(int32_t index) const {
    return index < 0 ? nullptr : reinterpret_cast<T*>(arena_.data() + plan_.blocks[index].offset);
  }
  PreparedRows prepared(int32_t index) const;
  AttentionArgs attention_args(const Op& op) const;
  AttendWork& attend_work(int64_t layer);

  const Program program_;
  const Plan plan_;
  const CacheLayout cache_layout_;
  const TapeLimits limits_;
  const KernelTable& kernels_;
  const std::shared_ptr<ThreadPool> pool_;

  std::vector<PackedWeight> matrices_;
  std::vector<const float*> vectors_;
  Memory arena_, cache_, scratch_;
  struct CachePlace {
    size_t keys, values;  // offsets
    size_t block_bytes;   // of either
  };
  std::vector<CachePlace> cache_places_;  // [cache]
  int64_t scratch_floats_ = 0;  // of one thread: for attention, or for gated linears
  float* partials_ = nullptr;
  int64_t max_partials_ = 0, partial_floats_ = 0, max_num_kv_heads_ = 0;

  struct PreparedKinds {
    bool bf16 = false, quantized = false, plain = false;  // plain: some weight reads the floats themselves
  };
  std::vector<PreparedKinds> prepared_kinds_;
  std::vector<std::vector<int32_t>> tile_bounds_;  // [stage]: where a linear is cut, see tape_linear.cpp
  std::vector<int64_t> row_costs_;                 // [stage]
  std::vector<AttendWork> attend_works_;
  static constexpr int64_t kDecodeChunks = 16;        // of attention, for each thread
  std::unique_ptr<std::atomic<int32_t>[]> runs_left_;  // [kv_head * pieces + piece]

  Step step_{};
  std::vector<int32_t> last_keys_;  // [token]: the last position of its sequence; empty where all layers are causal
  std::vector<int32_t> num_chunks_;  // [stage], of this step
  std::unique_ptr<Profile> profile_;
};

}  // namespace inglenook
