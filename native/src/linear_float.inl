// y = x w^T for weights in f32, f16 and bf16. Included by each isa_*.cpp after its simd_*.h.
// One output is one chain of multiply-adds over the inputs in order, whatever the blocking: that is why a row's
// result doesn't depend on its neighbours. Speed comes from many chains side by side (rows x tiles in registers).

namespace inglenook {
namespace {

// A weight kind says how a line of a tile is read, and Panel<n> where the activations of n rows lie that are computed
// together.
struct F32Weight {
  static constexpr int kInputs = 1;  // inputs in one step
  static constexpr int kParts = 1;   // multiply-adds in one step
  static constexpr int64_t kBytes = 64;
  static constexpr int64_t kActivationBytes = 4;
  template <int kRows>
  struct Panel {
    const float* rows[kRows];
    Panel(const PreparedRows& x, int64_t row) {
      for (int r = 0; r < kRows; ++r) rows[r] = x.x + (row + r) * x.x_stride;
    }
    template <int kPart>
    Vec broadcast(int r, int64_t step) const {
      return splat(rows[r][step]);
    }
  };
  template <int kPart>
  static Vec line(const uint8_t* p) { return load(reinterpret_cast<const float*>(p)); }
  static Vec step(Vec sum, Vec w, Vec x) { return fma(w, x, sum); }
};

struct F16Weight : F32Weight {
  static constexpr int64_t kBytes = 32;
  template <int kPart>
  static Vec line(const uint8_t* p) { return load(reinterpret_cast<const uint16_t*>(p)); }
};

struct Bf16Weight {
  static constexpr int kInputs = 2;
  static constexpr int kParts = kPairParts;
  static constexpr int64_t kBytes = 64;
  static constexpr int64_t kActivationBytes = 2;
  static int64_t padded_width(const PreparedRows& x) { return (x.in_features + 1) / 2 * 2; }
  template <int kRows>
  struct Panel {
    const uint16_t* pairs;  // [pair of inputs][row][2]
    Panel(const PreparedRows& x, int64_t row) : pairs(x.bf16 + row * padded_width(x)) {}
    template <int kPart>
    PairVec broadcast(int r, int64_t step) const {
      return splat_pair<kPart>(pairs + 2 * (step * kRows + r));
    }
  };
  template <int kPart>
  static PairVec line(const uint8_t* p) {
    return load_pairs<kPart>(p);
  }
  static Vec step(Vec sum, PairVec w, PairVec x) { return dot_pairs(sum, w, x); }
};

struct LinearOutput {
  const float* bias;  // may be null
  float* y;
  int64_t y_stride;
  int64_t out_features;
  bool accumulate;
};

// (accumulate ? y : 0) + (bias + sum), of one row and tile
inline void write_tile(const LinearOutput& out, int64_t row, int64_t tile, Vec sum) {
  const int64_t column = tile * kTileRows;
  float* y = out.y + row * out.y_stride + column;
  const int64_t left = out.out_features - column;
  if (left >= kTileRows) {
    if (out.bias != nullptr) sum = load(out.bias + column) + sum;
    if (out.accumulate) sum = load(y) + sum;
    store(y, sum);
  } else {
    const int count = static_cast<int>(left);
    if (out.bias != nullptr) sum = load_first(out.bias + column, count) + sum;
    if (out.accumulate) sum = load_first(y, count) + sum;
    store_first(y, sum, count);
  }
}

// One part for all rows before the next: what is widened in registers leaves them free again.
template <class Weight, int kRows, int kTiles, int kPart>
inline void add_part(const uint8_t* data, size_t tile_bytes, const typename Weight::template Panel<kRows>& panel,
                     int64_t step, Vec (&sums)[kRows][kTiles]) {
  decltype(Weight::template line<kPart>(data)) lines[kTiles];
  for (int t = 0; t < kTiles; ++t) lines[t] = Weight::template line<kPart>(data + t * tile_bytes);
  for (int r = 0; r < kRows; ++r) {
    const auto activation = panel.template broadcast<kPart>(r, step);
    for (int t = 0; t < kTiles; ++t) sums[r][t] = Weight::step(sums[r][t], lines[t], activation);
  }
}

template <class Weight, int kRows, int kTiles>
inline void linear_block(const PackedWeight& w, const PreparedRows& x, const LinearOutput& out, int64_t row,
                         int64_t tile) {
  Vec sums[kRows][kTiles];
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t) sums[r][t] = splat(0.0f);
  const typename Weight::template Panel<kRows> panel(x, row);
  const uint8_t* data = w.data + tile * w.tile_bytes;
  const int64_t num_steps = (w.in_features + Weight::kInputs - 1) / Weight::kInputs;
  for (int64_t step = 0; step < num_steps; ++step, data += Weight::kBytes) {
    add_part<Weight, kRows, kTiles, 0>(data, w.tile_bytes, panel, step, sums);
    if constexpr (Weight::kParts == 2) add_part<Weight, kRows, kTiles, 1>(data, w.tile_bytes, panel, step, sums);
  }
// Unrolled, like every loop over `sums`: an index that isn't a constant would keep them all in memory.
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int t = 0; t < kTiles; ++t) write_tile(out, row + r, tile + t, sums[r][t]);
}

template <class Weight, int kRows, int kTiles>
void linear_tiles(const PackedWeight& w, const PreparedRows& x, const LinearOutput& out, int64_t row,
                  int64_t tile_begin, int64_t tile_end) {
  int64_t tile = tile_begin;
  for (; tile + kTiles <= tile_end; tile += kTiles) linear_block<Weight, kRows, kTiles>(w, x, out, row, tile);
  for (; tile < tile_end; ++tile) linear_block<Weight, kRows, 1>(w, x, out, row, tile);
}

// At most kMaxRowBlock rows.
template <class Weight, int kRows = kMaxRowBlock>
void linear_rows(const PackedWeight& w, const PreparedRows& x, const LinearOutput& out, int64_t row, int64_t num_rows,
                 int64_t tile_begin, int64_t tile_end) {
  if constexpr (kRows > 0) {
    if (num_rows == kRows)
      linear_tiles<Weight, kRows, tiles_for_rows(kRows)>(w, x, out, row, tile_begin, tile_end);
    else
      linear_rows<Weight, kRows - 1>(w, x, out, row, num_rows, tile_begin, tile_end);
  }
}

// Many rows: a few tiles stay in the cache while all rows of a group pass by; a group's activations fit the
// second-level cache beside it.
template <class Weight>
void linear_float(const PackedWeight& w, const PreparedRows& x, const LinearOutput& out, const Range& of_rows,
                  const Range& of_tiles) {
  if (of_rows.size() <= kMaxRowBlock)
    return linear_rows<Weight>(w, x, out, of_rows.begin, of_rows.size(), of_tiles.begin, of_tiles.end);
  constexpr int64_t kGroupBytes = 768 << 10;
  constexpr int64_t kCachedTiles = tiles_for_rows(kMaxRowBlock);
  const int64_t row_bytes = w.in_features * Weight::kActivationBytes;
  const int64_t blocks = kGroupBytes / (row_bytes * kMaxRowBlock);
  const int64_t group_rows = kMaxRowBlock * (blocks > 1 ? blocks : 1);
  for (int64_t group = of_rows.begin; group < of_rows.end; group += group_rows) {
    const int64_t group_end = std::min(group + group_rows, of_rows.end);
    for (int64_t tile = of_tiles.begin; tile < of_tiles.end; tile += kCachedTiles) {
      const int64_t cached_end = std::min(tile + kCachedTiles, of_tiles.end);
      for (int64_t row = group; row < group_end; row += kMaxRowBlock)
        linear_rows<Weight>(w, x, out, row, std::min<int64_t>(group_end - row, kMaxRowBlock), tile, cached_end);
    }
  }
}

// Sixteen pairs from the first `count` of 32 floats, zero beyond.
inline void bf16_pairs(const float* x, int64_t count, uint16_t (&pairs)[32]) {
  for (int i = 0; i < 32; i += 16) {
    const int num_left = static_cast<int>(std::clamp<int64_t>(count - i, 0, 16));
    store_bf16(pairs + i, num_left == 16 ? load(x + i) : load_first(x + i, num_left));
  }
}

// Panels of kMaxRowBlock rows; the last is as wide as it has rows.
static_assert(kRowUnit % kMaxRowBlock == 0);
void prepare_bf16(PreparedRows& x, const Range& of_rows, const Range& of_inputs) {
  constexpr int64_t kPairs = 16;  // of one row at a time: the lines that they go to are filled while in the cache
  const int64_t num_pairs = (x.in_features + 1) / 2, pair_end = (of_inputs.end + 1) / 2;
  for (int64_t begin = of_rows.begin; begin < of_rows.end;) {
    const int64_t panel = begin / kMaxRowBlock * kMaxRowBlock;
    const int64_t panel_rows = std::min<int64_t>(kMaxRowBlock, x.num_rows - panel);
    const int64_t end = std::min(of_rows.end, panel + panel_rows);
    for (int64_t pair = of_inputs.begin / 2; pair < pair_end; pair += kPairs) {
      const int64_t count = std::min(kPairs, pair_end - pair);
      for (int64_t row = begin; row < end; ++row) {
        uint16_t pairs[2 * kPairs];
        bf16_pairs(x.x + row * x.x_stride + 2 * pair, x.in_features - 2 * pair, pairs);
        uint16_t* to = x.bf16 + 2 * (panel * num_pairs + pair * panel_rows + row - panel);
        for (int64_t i = 0; i < count; ++i) std::memcpy(to + 2 * i * panel_rows, pairs + 2 * i, 2 * sizeof(uint16_t));
      }
    }
    begin = end;
  }
}

// Column r of the tile's lines.
void embed_row_float(const PackedWeight& w, int64_t index, float* out) {
  const uint8_t* lines = w.data + index / kTileRows * w.tile_bytes;
  const int64_t r = index % kTileRows;
  for (int64_t i = 0; i < w.in_features; ++i) {
    if (w.kind == WeightKind::f32) {
      out[i] = reinterpret_cast<const float*>(lines)[i * kTileRows + r];
    } else if (w.kind == WeightKind::f16) {
      float lane[16];
      uint16_t half[16] = {reinterpret_cast<const uint16_t*>(lines)[i * kTileRows + r]};
      store(lane, load(half));
      out[i] = lane[0];
    } else {
      const uint32_t half = reinterpret_cast<const uint16_t*>(lines)[(i / 2 * kTileRows + r) * 2 + i % 2];
      const uint32_t bits = half << 16;
      std::memcpy(out + i, &bits, sizeof(bits));
    }
  }
}

}  // namespace
}  // namespace inglenook
