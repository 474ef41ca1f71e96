// Linear stages: how they are cut into chunks of rows and tiles, and how a chunk runs.
#include "tape_linear.h"

#include <algorithm>
#include <stdexcept>

#include "tape.h"

namespace inglenook {

namespace {

constexpr int64_t kCachedBytes = int64_t{512} << 10;  // of a gated linear's weights, while its rows pass by

// Cuts `total` into even chunks that become smaller towards the end: long runs of memory for each thread at first,
// and little to wait for at last.
std::vector<int32_t> guided_bounds(int64_t total, int threads) {
  const int64_t grain = total >= 128 ? 4 : 2;
  std::vector<int32_t> bounds{0};
  for (int64_t begin = 0; begin < total;) {
    const int64_t share = (total - begin) / (2 * threads) / grain * grain;
    begin = std::min(total, begin + std::max(share, grain));
    bounds.push_back(static_cast<int32_t>(begin));
  }
  return bounds;
}

}  // namespace

// Bounds in tiles of all weights of a linear together, in tiles of each of the two of a gated one.
void Tape::plan_tiles(int index) {
  const Stage& stage = plan_.stages[index];
  const bool is_gated = stage.kind == StageKind::gated;
  if (stage.kind != StageKind::linear && !is_gated) return;
  const Op& op = plan_.ops[stage.op_begin];
  PreparedKinds& kinds = prepared_kinds_[op.index];
  int64_t num_tiles = 0;
  for (const int32_t slot : op.weights) {
    const PackedWeight& w = matrices_[slot];
    if (is_gated && 2 * w.out_features != op.out.width)
      throw std::invalid_argument("The two weights of a gated linear differ in their number of rows.");
    num_tiles = is_gated ? w.num_tiles : num_tiles + w.num_tiles;
    kinds.bf16 |= w.kind == WeightKind::bf16;
    kinds.quantized |= w.group_size != 0;
    kinds.plain |= w.group_size == 0 && w.kind != WeightKind::bf16;
  }
  tile_bounds_[index] = guided_bounds(num_tiles, pool_->num_threads());
}

void Tape::run_linear(int index, int chunk, int thread) {
  const Stage& stage = plan_.stages[index];
  const int64_t rows = num_rows(stage.rows), blocks = num_row_blocks(rows);
  const int32_t* bounds = tile_bounds_[index].data() + chunk / blocks;
  const Range of_rows = row_block(rows, chunk % blocks), of_tiles{bounds[0], bounds[1]};
  if (stage.kind == StageKind::gated) return run_gated(stage, of_rows, of_tiles, thread);
  run_tiles(plan_.ops[stage.op_begin], of_rows, of_tiles);
}

void Tape::run_tiles(const Op& op, const Range& of_rows, const Range& of_tiles) {
  const PreparedRows rows = prepared(op.index);
  float* out = at(op.out);
  int64_t first_tile = 0;  // of this weight, among those of all
  for (size_t i = 0; i < op.weights.size(); ++i) {
    const PackedWeight& w = matrices_[op.weights[i]];
    const Range own{std::max(of_tiles.begin - first_tile, int64_t{0}), std::min(of_tiles.end - first_tile, w.num_tiles)};
    const float* bias = op.biases[i] < 0 ? nullptr : vectors_[op.biases[i]];
    if (own.size() > 0) kernels_.linear(w, rows, bias, out, stride(op.out), op.accumulate, of_rows, own);
    out += w.out_features;
    first_tile += w.num_tiles;
  }
}

// Some tiles of both weights stay in the second-level cache while the rows pass by, a unit at a time: what these give
// goes from the first-level cache into the form that the next linear reads.
void Tape::run_gated(const Stage& stage, const Range& of_rows, const Range& of_tiles, int thread) {
  const int64_t tile_bytes = static_cast<int64_t>(matrices_[plan_.ops[stage.op_begin].weights[0]].tile_bytes);
  const int64_t step = std::clamp<int64_t>(kCachedBytes / (2 * tile_bytes) / 2 * 2, 2, kGatedTiles);
  for (int64_t tile = of_tiles.begin; tile < of_tiles.end; tile += step) {
    const Range tiles{tile, std::min(tile + step, of_tiles.end)};
    for (int64_t row = of_rows.begin; row < of_rows.end;) {
      const int64_t left = of_rows.end - row;
      const int64_t count = left < 2 * kRowUnit ? left : kRowUnit;
      run_gated_panels(stage, {row, row + count}, tiles, scratch_of(thread));
      row += count;
    }
  }
}

// `scratch` holds, of each row, the columns of the first weight and then those of the second.
void Tape::run_gated_panels(const Stage& stage, const Range& of_rows, const Range& of_tiles, float* scratch) {
  const Op &op = plan_.ops[stage.op_begin], &act_mul = plan_.ops[stage.op_begin + 1];
  const Range columns{of_tiles.begin * kTileRows, of_tiles.end * kTileRows};
  const int64_t width = columns.size(), scratch_stride = 2 * width + kTileRows;
  const PreparedRows x = prepared(op.index);
  float* row_0 = scratch - of_rows.begin * scratch_stride;
  for (int i = 0; i < 2; ++i) {
    const float* bias = op.biases[i] < 0 ? nullptr : vectors_[op.biases[i]];
    kernels_.linear(matrices_[op.weights[i]], x, bias, row_0 + i * width - columns.begin, scratch_stride, false, of_rows,
                    of_tiles);
  }
  const bool is_prepared = stage.op_end - stage.op_begin == 3;
  const int32_t prepare = is_prepared ? plan_.ops[stage.op_begin + 2].index : -1;
  const bool is_kept = stage.keeps_result || prepared_kinds_[prepare].plain;
  float* out = is_kept ? at(act_mul.out) + columns.begin : row_0;
  const int64_t out_stride = is_kept ? stride(act_mul.out) : scratch_stride;
  kernels_.act_mul(act_mul.activation, row_0, scratch_stride, row_0 + width, scratch_stride, width, out, out_stride,
                   of_rows.begin, of_rows.end);
  if (!is_prepared) return;
  PreparedRows rows = prepared(prepare);
  rows.x = out - columns.begin;
  rows.x_stride = out_stride;
  run_prepare(plan_.ops[stage.op_begin + 2], rows, of_rows, columns);
}

void Tape::run_prepare(const Op& op, PreparedRows rows, const Range& of_rows, const Range& of_inputs) {
  const PreparedKinds& kinds = prepared_kinds_[op.index];
  if (kinds.bf16) kernels_.prepare(WeightKind::bf16, rows, of_rows, of_inputs);
  if (kinds.quantized) kernels_.prepare(WeightKind::q8, rows, of_rows, of_inputs);
}

}  // namespace inglenook
