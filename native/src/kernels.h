// The contract between the tape (which decides what runs when) and the kernels (one translation unit per
// instruction set, all filling the same table). A kernel computes rows [row_begin, row_end) or output tiles
// [tile_begin, tile_end), so that the thread pool can split the work; the result of an element never depends
// on how it was split, on the number of rows in the call, or on the row's place in it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inglenook {

enum class Isa : uint8_t { scalar, avx2, avx512 };
enum class WeightKind : uint8_t { f32, f16, bf16, q4, q5, q6, q8 };
enum class ScaleKind : uint8_t { f16, block };  // block: 8 bits, times a float16 factor of 256 inputs
enum class Activation : uint8_t { silu, gelu, gelu_tanh, relu, tanh };
enum class PoolMode : uint8_t { mean, mean_sqrt_len, max, cls };
// f32, f16: keys [head_dim][block_size], values [block_size][width] of a block and head, width being head_dim rounded up
// to 16. bf16 and q8 bring together what one instruction multiplies. bf16: keys [head_dim / 2][block_size][2 inputs],
// values [block_size / 2][width][2 keys]. q8, int8 codes: keys [head_dim / 2][block_size / 16][2 inputs][16],
// values [block_size / 2][width / 16][2 keys][16], each then float32 scales[block_size].
enum class CacheKind : uint8_t { f32, f16, bf16, q8 };

constexpr int64_t kScaleBlock = 256;  // inputs that share the factors of ScaleKind::block
constexpr int64_t kTileRows = 16;  // output rows that are interleaved in a packed weight
// A linear's rows may be cut at multiples of this that leave as many: every panel of PreparedRows ends there.
constexpr int64_t kRowUnit = 24;
constexpr int64_t kSpanKeys = 128;       // attention takes maximum and sums of this many keys: a multiple of any block
constexpr int64_t kPartitionKeys = 512;  // sums of this many keys are merged: a multiple of kSpanKeys
constexpr int64_t kAttendRows = 120;     // query rows (tokens x heads) that pass over a span of keys together
constexpr int64_t kMaxQuantizedHead = 256;  // head_dim, of a q8 cache

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// A weight matrix [out_features, in_features] packed in tiles of 16 output rows; the last tile is padded with zeros.
// Float kinds: [tile][input (bf16: pair of inputs)][row][1 or 2 values].
// Quantised kinds: per tile and group of inputs one record: codes, then scales[16], then minimums[16] if has_minimum.
//   Codes are unsigned; element (row r, input i) of a group stands where vpdpbusd wants it: four neighbouring
//   inputs of one row are four neighbouring bytes, 16 rows make 64 bytes: one line. A group has L = group_size / 4
//   lines. q8: L lines. q4: L / 2, line j in the low nibbles and line j + L / 2 in the high ones. q5 and q6: these
//   nibbles, then one 64-byte plane of the codes' upper bits: q5 bit l of a byte, q6 bits 2l and 2l + 1, are line l's.
//   weight = scale * (code - zero_point), or scale * code + minimum.
//   Scales in blocks (K-quants) are int8 in the record; a tile then begins with its headers, for each 256 inputs the
//   float16 factors of scales[16], and of minimums[16] if has_minimum. scale = factor * int8, rounded to float32.
struct PackedWeight {
  WeightKind kind = WeightKind::f32;
  ScaleKind scale_kind = ScaleKind::f16;
  bool has_minimum = false;
  int32_t group_size = 0;  // 32 or 16; 0 for float kinds
  int32_t zero_point = 0;
  int64_t out_features = 0;
  int64_t in_features = 0;  // a multiple of group_size (quantised); any (float; bf16 pads the last pair with zero)
  int64_t num_tiles = 0;
  size_t header_bytes = 0;  // of a tile, before its records
  size_t record_bytes = 0;  // one tile and group (quantised) or one tile and input or pair (float)
  size_t tile_bytes = 0;
  const uint8_t* data = nullptr;  // 64-byte aligned, owned by whoever made it
};

// Rows of activations in the form that a weight kind multiplies with. f32 and f16 weights read x itself.
// For the other kinds rows are cut into panels, whose size depends on num_rows and the instruction set alone: what a
// kernel reads together lies together, and rows a power of two apart don't contend for the same cache lines. The panel
// that begins with row r has its codes from r * in_features on, the rest likewise.
struct PreparedRows {
  const float* x = nullptr;  // [rows, in_features], row stride x_stride
  int64_t x_stride = 0;
  uint16_t* bf16 = nullptr;   // [panel][pair of inputs][row][2]      for bf16, the last pair filled up with zero
  int8_t* codes = nullptr;    // [panel][in_features / 4][row][4]     for quantised, symmetric in [-127, 127]
  float* scales = nullptr;    // [panel][in_features / 32][row]: x ~= scale * code; groups of 32 whatever the weight's
  int32_t* sums = nullptr;    // [panel][in_features / 16][row]: sums of 16 neighbouring codes
  int64_t num_rows = 0;       // of all panels, not only those of a call
  int64_t in_features = 0;
};

struct AttentionArgs {
  int64_t num_heads, num_kv_heads, head_dim, block_size;
  float scale;
  int32_t sliding_window;  // 0: none
  float softcap;           // 0: none
  CacheKind cache_kind;
  // One layer's cache: [block][kv_head], cache_record_bytes each.
  uint8_t* keys;
  uint8_t* values;
  const float* q;  // [tokens, num_heads * head_dim], row stride q_stride; k, v alike
  int64_t q_stride;
  const float* k;
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  float* out;
  int64_t out_stride;
  int64_t num_tokens;
  const int32_t* slot_mapping;
  const int32_t* last_keys;     // position of the last key that a token sees: its own, where attention is causal
  const int32_t* block_tables;  // [num_sequences, max_blocks]
  int64_t max_blocks;
};

// Query tokens of one sequence, kAttendRows rows at most (or one token), for the query heads of one kv head.
struct AttendItem {
  int64_t sequence, kv_head, token_begin, token_end;
  // Of one token, so that several threads share a long context: only these partitions, each into attend_partial_floats.
  int64_t partition_begin, partition_end;
  float* partials;  // null: all partitions, into `out`
};

struct KernelTable {
  const char* name;

  // Fills what weights of `kind` need of `rows` (bf16, or codes, scales and sums). Reads rows.x.
  void (*prepare)(WeightKind kind, PreparedRows& rows, const Range& of_rows, const Range& of_inputs);

  // y[row, 16 * tile + r] = (accumulate ? y : 0) + bias + x[row] . w[16 * tile + r], for a range of rows and of tiles.
  // y points at row 0 and the first output column of this weight; bias may be null.
  // Each weight byte is read once for as many rows as registers allow. Rows are cut as kRowUnit says.
  void (*linear)(const PackedWeight& w, const PreparedRows& x, const float* bias, float* y, int64_t y_stride,
                 bool accumulate, const Range& of_rows, const Range& of_tiles);

  // out = row `index` of w, dequantised to in_features floats.
  void (*embed_row)(const PackedWeight& w, int64_t index, float* out);

  void (*rms_norm)(const float* x, int64_t x_stride, const float* weight, float eps, int64_t width, float* out,
                   int64_t out_stride, int64_t row_begin, int64_t row_end);
  // bias may be null
  void (*layer_norm)(const float* x, int64_t x_stride, const float* weight, const float* bias, float eps, int64_t width,
                     float* out, int64_t out_stride, int64_t row_begin, int64_t row_end);
  // cos, sin: [rows, num_pairs]
  void (*rope)(float* x, int64_t x_stride, int64_t num_heads, int64_t head_dim, int64_t num_pairs, bool interleaved,
               const float* cos, const float* sin, int64_t row_begin, int64_t row_end);
  void (*act_mul)(Activation activation, const float* gate, int64_t gate_stride, const float* up, int64_t up_stride,
                  int64_t width, float* out, int64_t out_stride, int64_t row_begin, int64_t row_end);
  void (*act)(Activation activation, const float* x, int64_t x_stride, int64_t width, float* out, int64_t out_stride,
              int64_t row_begin, int64_t row_end);
  void (*add)(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t width, float* out,
              int64_t out_stride, int64_t row_begin, int64_t row_end);

  void (*scale)(const float* x, int64_t x_stride, float factor, int64_t width, float* out, int64_t out_stride,
                int64_t row_begin, int64_t row_end);
  void (*softcap)(const float* x, int64_t x_stride, float cap, int64_t width, float* out, int64_t out_stride,
                  int64_t row_begin, int64_t row_end);

  // One row from `num_rows` of a sequence, added up from the first to the last.
  void (*pool)(PoolMode mode, const float* x, int64_t x_stride, int64_t num_rows, int64_t width, float* out);

  // Writes k and v of tokens [token_begin, token_end) into the cache, all heads.
  void (*store_kv)(const AttentionArgs& args, int64_t token_begin, int64_t token_end);
  // Attention of one item. `next` is what this thread computes after it, or the item itself: its keys are fetched ahead.
  // The order of summation is fixed by the key's position alone (spans of kSpanKeys keys, partitions of
  // kPartitionKeys keys merged in order), whatever the chunking. `scratch` is one thread's, attend_scratch_floats.
  void (*attend)(const AttentionArgs& args, const AttendItem& item, const AttendItem& next, float* scratch);
  // All partials of a token, one after another in memory, into `out`. At most kAttendRows query heads for one kv head.
  void (*merge_partitions)(const AttentionArgs& args, int64_t kv_head, int64_t token, const float* partials,
                           int64_t num_partials, float* scratch);
};

constexpr int64_t cache_record_bytes(CacheKind kind, int64_t head_dim, int64_t block_size) {
  const int64_t num_values = (head_dim + 15) / 16 * 16 * block_size;
  return kind == CacheKind::q8 ? num_values + 4 * block_size : num_values * (kind == CacheKind::f32 ? 4 : 2);
}

constexpr int64_t attend_scratch_floats(int64_t head_dim) {
  const int64_t width = (head_dim + 15) / 16 * 16;
  return (kAttendRows + 16) * (width + 16 + 2 * width + 3) + 2 * 16 * kSpanKeys + 2 * kSpanKeys * (width + 1) + 256;
}
constexpr int64_t attend_partial_floats(int64_t group, int64_t head_dim) {
  return group * (2 + (head_dim + 15) / 16 * 16);
}

const KernelTable& kernel_table(Isa isa);  // throws std::invalid_argument where it isn't available
Isa best_isa();                            // what this processor can run
bool isa_available(Isa isa);

}  // namespace inglenook
