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

// The scale, or with `index` 1 the minimum, of one row and group. `group` counts from the tile's first.
inline float packed_factor(const PackedWeight& w, const uint8_t* tile, int64_t tile_row, int64_t group, int index) {
  const int64_t num_factors = w.has_minimum ? 2 : 1;
  const int64_t at = index * kTileRows + tile_row;
  const uint8_t* record_end = tile + w.header_bytes + (group + 1) * static_cast<int64_t>(w.record_bytes);
  if (w.scale_kind == ScaleKind::f16)
    return f16_to_f32(load_unaligned<uint16_t>(record_end - 2 * kTileRows * num_factors + 2 * at));
  const uint8_t* header = tile + group * w.group_size / kScaleBlock * 2 * kTileRows * num_factors;
  const int8_t code = static_cast<int8_t>(record_end[at - kTileRows * num_factors]);
  return f16_to_f32(load_unaligned<uint16_t>(header + 2 * at)) * static_cast<float>(code);
}

// out[0, in_features) = row `index` of w.
inline void embed_row_quantized(const PackedWeight& w, int64_t index, float* out) {
  const int64_t tile_row = index % kTileRows;
  const uint8_t* tile = w.data + index / kTileRows * static_cast<int64_t>(w.tile_bytes);
  for (int64_t group = 0; group < w.in_features / w.group_size; ++group) {
    const uint8_t* record = tile + w.header_bytes + group * static_cast<int64_t>(w.record_bytes);
    const float scale = packed_factor(w, tile, tile_row, group, 0);
    const float minimum = w.has_minimum ? packed_factor(w, tile, tile_row, group, 1) : 0.0f;
    for (int64_t i = 0; i < w.group_size; ++i) {
      const int code = packed_code(w, record, tile_row, i);
      *out++ = w.has_minimum ? scale * static_cast<float>(code) + minimum
                             : scale * static_cast<float>(code - w.zero_point);
    }
  }
}

}  // namespace
}  // namespace inglenook
