// A recorded program: the operations of src/inglenook/ops/program.py with buffers and weights as numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace inglenook {

enum class Rows : uint8_t { tokens, selected };

struct Buffer {  // row-major float32, one row per token or per selected token
  int64_t width;
  Rows rows;
};

struct View {  // columns [offset, offset + width) of a buffer
  int32_t buffer = -1;
  int64_t offset = 0;
  int64_t width = 0;
};

struct RopeTable {
  std::vector<double> frequencies;
  double scale;
  bool interleaved;
};

struct AttentionLayer {
  int64_t num_heads, num_kv_heads, head_dim;
  float scale;
  int32_t sliding_window;  // 0: none
  float softcap;           // 0: none
  int32_t cache;           // layers that aren't causal may share one
  bool is_causal;
};

enum class EmbedIndex : int32_t { token_ids, positions, token_type_ids };

enum class OpKind : uint8_t {
  // recorded
  embed, linear, rms_norm, layer_norm, rope, attention, act_mul, act, add, scale, softcap, select_rows, pool,
  // added by the plan
  rope_table,  // cosines and sines of this step's positions
  store_kv,    // the first half of attention
  prepare,     // a linear's input in the form that its weights multiply with
};

struct Op {
  OpKind kind;
  View out{};  // rope: the rotated columns
  View x{};    // attention: q; act_mul: gate
  View y{};    // attention: k; act_mul: up
  View z{};    // attention: v
  std::vector<int32_t> weights{};  // slots; embed and norms have one
  std::vector<int32_t> biases{};   // slots or -1, as many as weights
  int64_t head_dim = 0;          // rope
  int64_t first_row = 0;         // embed: of the weight, for index 0
  int32_t index = -1;            // rope: table; attention: layer; prepare, linear: prepared input; embed: EmbedIndex
  float factor = 0.0f;           // norms: epsilon; scale: factor; softcap: cap
  Activation activation = Activation::silu;
  PoolMode pool_mode = PoolMode::mean;
  bool accumulate = false;       // linear: adds to what `out` holds
};

struct Program {
  std::vector<Buffer> buffers;
  std::vector<Op> ops;
  std::vector<RopeTable> rope_tables;
  std::vector<AttentionLayer> layers;
  View output;
  int32_t num_weights = 0;

  // What a step is checked against.
  int64_t vocabulary = 0;       // rows of the embedding
  int64_t max_positions = 0;    // 0: as many as one likes
  int64_t num_token_types = 0;  // 0: none are read
  bool needs_whole_sequences = false;
};

}  // namespace inglenook
