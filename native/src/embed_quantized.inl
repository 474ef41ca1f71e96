// One row of a packed quantised weight back to float: embeddings, and unpacking for tests. Plain C++, included at file
// scope.
#include <cstdint>

#include "half.h"
#include "kernels.h"

namespace inglenook {
namespace {

// Code of (row of the tile, input of the group); see PackedWeight.
inline int packed_code(const PackedWeight& w, const uint8_t* record, int64_t tile_row, int64_t input) {
  const int64_t num_lines = w.group_size / 4;
  const int64_t line = input / 4;
  const int64_t byte = 4 * tile_row + input % 4;
  if (w.kind == WeightKind::q8) return record[line * 64 + byte];
  const int nibbles = record[line % (num_lines / 2) * 64 + byte];
  const int low = line < num_lines / 2 ? nibbles & 0x0f : nibbles >> 4;
  if (w.kind == WeightKind::q4) return low;
  const int plane = record[num_lines / 2 * 64 + byte];
  return low | (w.kind == WeightKind::q5 ? (plane >> line & 1) << 4 : (plane >> 2 * line & 3) << 4);
}

// out[0, in_features) = row `index` of w.
inline void embed_row_quantized(const PackedWeight& w, int64_t index, float* out) {
  const int64_t tile_row = index % kTileRows;
  const int64_t factor_bytes = w.scale_kind == ScaleKind::f16 ? 2 : 4;
  const int64_t num_factors = w.has_minimum ? 2 : 1;
  const int64_t code_bytes = static_cast<int64_t>(w.record_bytes) - num_factors * kTileRows * factor_bytes;
  const auto factor = [&](const uint8_t* p) {
    return w.scale_kind == ScaleKind::f16 ? f16_to_f32(load_unaligned<uint16_t>(p)) : load_unaligned<float>(p);
  };
  const uint8_t* record = w.data + index / kTileRows * static_cast<int64_t>(w.tile_bytes);
  for (int64_t input = 0; input < w.in_features; input += w.group_size, record += w.record_bytes) {
    const uint8_t* scales = record + code_bytes + tile_row * factor_bytes;
    const float scale = factor(scales);
    const float minimum = w.has_minimum ? factor(scales + kTileRows * factor_bytes) : 0.0f;
    for (int64_t i = 0; i < w.group_size; ++i) {
      const int code = packed_code(w, record, tile_row, i);
      out[input + i] = w.has_minimum ? scale * static_cast<float>(code) + minimum
                                     : scale * static_cast<float>(code - w.zero_point);
    }
  }
}

}  // namespace
}  // namespace inglenook
