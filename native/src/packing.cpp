#include "packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "embed_quantized.inl"
#include "half.h"
#include "parallel.h"
#include "quantize.h"

namespace inglenook {

namespace {

constexpr const char* kKindNames[] = {"f32", "f16", "bf16", "q4", "q5", "q6", "q8"};
constexpr size_t kMappingBytes = size_t{64} << 20;
constexpr int64_t kChunk = 256;  // inputs of a tile that are converted together; a multiple of every block

bool is_float(WeightKind kind) { return kind <= WeightKind::bf16; }

// Groups of what lies in the checkpoint, or of floats that are quantised now.
int32_t group_size(WeightKind kind) { return kind == WeightKind::q6 ? 16 : 32; }

WeightKind own_kind(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32: return WeightKind::f32;
    case Encoding::f16: return WeightKind::f16;
    case Encoding::bf16: return WeightKind::bf16;
    case Encoding::q8_0: return WeightKind::q8;
    case Encoding::q5_0: case Encoding::q5_1: case Encoding::q5_k: return WeightKind::q5;
    case Encoding::q6_k: return WeightKind::q6;
    default: return WeightKind::q4;
  }
}

int32_t zero_point(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0: return 8;
    case Encoding::q5_0: return 16;
    case Encoding::q6_k: return 32;
    case Encoding::q8_0: return 128;
    default: return 0;  // the formats with a minimum
  }
}

// What a float matrix becomes when it is quantised here.
Encoding quantized_encoding(Encoding encoding, WeightKind kind) {
  if (!is_float(encoding)) return encoding;
  return kind == WeightKind::q8 ? Encoding::q8_0 : Encoding::q4_1;
}

void check_bytes(Encoding encoding, int64_t out_features, int64_t in_features, size_t num_bytes) {
  const EncodingInfo& info = encoding_info(encoding);
  if (in_features % info.block_size != 0) {
    throw std::invalid_argument("a row of " + std::to_string(in_features) + " isn't whole blocks of " + info.name);
  }
  const int64_t expected = out_features * (in_features / info.block_size) * info.block_bytes;
  if (static_cast<size_t>(expected) == num_bytes) return;
  throw std::invalid_argument("in " + std::string(info.name) + " it takes " + std::to_string(expected) +
                              " bytes; there are " + std::to_string(num_bytes));
}

// Rows of one tile as they lie in the checkpoint; rows beyond the last are zero.
struct TileSource {
  Encoding encoding;
  const uint8_t* bytes;
  int64_t row_bytes;
  int64_t num_rows;  // 1 to 16

  const uint8_t* row(int64_t r) const { return bytes + r * row_bytes; }
};

// --- quantised -----------------------------------------------------------------------------------------------------

// The codes of one row, 16 or 32, into their places in a record.
void write_codes(WeightKind kind, const uint8_t* codes, int64_t tile_row, uint8_t* record) {
  const auto quad = [&](int line) { return load_unaligned<uint32_t>(codes + 4 * line); };
  const auto put = [&](int line, uint32_t bytes) { std::memcpy(record + line * 64 + tile_row * 4, &bytes, 4); };
  const int num_lines = group_size(kind) / 4;
  if (kind == WeightKind::q8) {
    for (int line = 0; line < num_lines; ++line) put(line, quad(line));
    return;
  }
  const int half = num_lines / 2;
  for (int line = 0; line < half; ++line) {
    put(line, (quad(line) & 0x0f0f0f0fu) | (quad(line + half) & 0x0f0f0f0fu) << 4);
  }
  if (kind == WeightKind::q4) return;
  uint32_t plane = 0;
  for (int line = 0; line < num_lines; ++line) {
    const uint32_t upper = quad(line) >> 4;
    plane |= kind == WeightKind::q5 ? (upper & 0x01010101u) << line : (upper & 0x03030303u) << 2 * line;
  }
  put(half, plane);
}

void put_half(uint8_t* halves, int64_t index, uint16_t value) { std::memcpy(halves + 2 * index, &value, 2); }

// `header` is that of the group's block, where there is one.
void write_group(const PackedWeight& w, const Group& group, int64_t tile_row, uint8_t* header, uint8_t* record) {
  write_codes(w.kind, group.codes, tile_row, record);
  const int num_factors = w.has_minimum ? 2 : 1;
  if (w.scale_kind == ScaleKind::f16) {  // exact: the values were read from halves, or rounded to one
    uint8_t* factors = record + w.record_bytes - 2 * kTileRows * num_factors;
    put_half(factors, tile_row, f32_to_f16(group.scale));
    if (w.has_minimum) put_half(factors, kTileRows + tile_row, f32_to_f16(group.minimum));
    return;
  }
  int8_t* codes = reinterpret_cast<int8_t*>(record + w.record_bytes - kTileRows * num_factors);
  codes[tile_row] = group.scale_code;
  put_half(header, tile_row, group.scale_factor);
  if (!w.has_minimum) return;
  codes[kTileRows + tile_row] = group.minimum_code;
  put_half(header, kTileRows + tile_row, group.minimum_factor);
}

void pack_blocks(const PackedWeight& w, const TileSource& source, uint8_t* tile) {
  const EncodingInfo& info = encoding_info(source.encoding);
  const int64_t groups_per_block = info.block_size / w.group_size;
  const int64_t num_blocks = w.in_features / info.block_size;
  Group groups[kMaxGroupsPerBlock];
  for (int64_t block = 0; block < num_blocks; ++block) {
    uint8_t* header = tile + block * static_cast<int64_t>(w.header_bytes) / num_blocks;
    uint8_t* record = tile + w.header_bytes + block * groups_per_block * static_cast<int64_t>(w.record_bytes);
    for (int64_t r = 0; r < source.num_rows; ++r) {
      decode_block(source.encoding, source.row(r) + block * info.block_bytes, groups);
      for (int64_t g = 0; g < groups_per_block; ++g) {
        write_group(w, groups[g], r, header, record + g * static_cast<int64_t>(w.record_bytes));
      }
    }
  }
}

void quantize_tile(const PackedWeight& w, const TileSource& source, uint8_t* tile) {
  const int64_t value_bytes = encoding_info(source.encoding).block_bytes;
  TileGroup values = {};
  Group groups[kTileRows];
  float row[32];
  for (int64_t input = 0; input < w.in_features; input += 32, tile += w.record_bytes) {
    for (int64_t r = 0; r < source.num_rows; ++r) {
      decode(source.encoding, source.row(r) + input * value_bytes, 32, row);
      int num_finite = 0;
      for (const float value : row) num_finite += std::fabs(value) <= std::numeric_limits<float>::max();
      if (num_finite != 32) throw std::range_error("a value isn't finite");
      for (int i = 0; i < 32; ++i) values[i][r] = row[i];
    }
    w.kind == WeightKind::q8 ? quantize_q8(values, groups) : quantize_q4(values, groups);
    for (int64_t r = 0; r < source.num_rows; ++r) {
      if (!std::isfinite(groups[r].scale) || !std::isfinite(groups[r].minimum)) {
        throw std::range_error("a value is too large for a float16 scale");
      }
      write_group(w, groups[r], r, nullptr, tile);
    }
  }
}

// --- float -----------------------------------------------------------------------------------------------------------

template <class T>
T convert(float value);
template <>
float convert(float value) { return value; }
template <>
uint16_t convert<uint16_t>(float value) {
  const uint16_t half = f32_to_f16(value);
  if ((half & 0x7fffu) == 0x7c00u && std::isfinite(value)) {
    throw std::range_error("a value is too large for float16; bfloat16 and float32 hold it");
  }
  return half;
}

struct Bf16 {
  uint16_t bits;
};
template <>
Bf16 convert<Bf16>(float value) { return {f32_to_bf16(value)}; }

// kTogether neighbouring inputs of a row lie beside one another (2 with bf16); an odd last one is paired with zero.
template <class T, int kTogether>
void pack_floats(const PackedWeight& w, const TileSource& source, uint8_t* tile) {
  const EncodingInfo& info = encoding_info(source.encoding);
  const bool is_own = own_kind(source.encoding) == w.kind;
  T* out = reinterpret_cast<T*>(tile);
  T values[kTileRows][kChunk] = {};
  float floats[kChunk];
  for (int64_t begin = 0; begin < w.in_features; begin += kChunk) {
    const int64_t count = std::min(kChunk, w.in_features - begin);
    const int64_t padded = (count + kTogether - 1) / kTogether * kTogether;
    for (int64_t r = 0; r < source.num_rows; ++r) {
      const uint8_t* bytes = source.row(r) + begin / info.block_size * info.block_bytes;
      if (is_own) {
        std::memcpy(values[r], bytes, static_cast<size_t>(count) * sizeof(T));
      } else {
        decode(source.encoding, bytes, count, floats);
        for (int64_t i = 0; i < count; ++i) values[r][i] = convert<T>(floats[i]);
      }
      if (padded > count) values[r][count] = T{};
    }
    for (int64_t i = 0; i < padded; i += kTogether) {
      for (int64_t r = 0; r < kTileRows; ++r) {
        for (int64_t j = 0; j < kTogether; ++j) *out++ = values[r][i + j];
      }
    }
  }
}

void pack_tile(const PackedWeight& w, const TileSource& source, uint8_t* tile) {
  if (w.kind == WeightKind::f32) return pack_floats<float, 1>(w, source, tile);
  if (w.kind == WeightKind::f16) return pack_floats<uint16_t, 1>(w, source, tile);
  if (w.kind == WeightKind::bf16) return pack_floats<Bf16, 2>(w, source, tile);
  if (is_float(source.encoding)) return quantize_tile(w, source, tile);
  pack_blocks(w, source, tile);
}

float unpack_float(const PackedWeight& w, const uint8_t* tile, int64_t tile_row, int64_t input) {
  const int64_t index = input * kTileRows + tile_row;
  if (w.kind == WeightKind::f32) return load_unaligned<float>(tile + 4 * index);
  if (w.kind == WeightKind::f16) return f16_to_f32(load_unaligned<uint16_t>(tile + 2 * index));
  const int64_t pair = input / 2 * kTileRows + tile_row;
  return bf16_to_f32(load_unaligned<uint16_t>(tile + 2 * (2 * pair + input % 2)));
}

}  // namespace

WeightKind parse_weight_kind(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kKindNames)); ++i) {
    if (name == kKindNames[i]) return static_cast<WeightKind>(i);
  }
  throw std::invalid_argument("unknown weight format " + std::string(name));
}

const char* weight_kind_name(WeightKind kind) { return kKindNames[static_cast<int>(kind)]; }

PackedWeight packed_layout(Encoding encoding, WeightKind kind, int64_t out_features, int64_t in_features) {
  const bool is_quantized_here = is_float(encoding) && (kind == WeightKind::q8 || kind == WeightKind::q4);
  if (!is_float(kind) && kind != own_kind(encoding) && !is_quantized_here) {
    throw std::invalid_argument(std::string("a matrix in ") + encoding_info(encoding).name + " can't be kept in " +
                                weight_kind_name(kind));
  }
  if (out_features <= 0 || in_features <= 0) throw std::invalid_argument("a matrix needs rows and columns");
  PackedWeight w;
  w.kind = kind;
  w.out_features = out_features;
  w.in_features = in_features;
  w.num_tiles = (out_features + kTileRows - 1) / kTileRows;
  int64_t num_records = in_features;
  if (is_float(kind)) {
    w.record_bytes = kind == WeightKind::f16 ? 32 : 64;
    if (kind == WeightKind::bf16) num_records = (in_features + 1) / 2;
  } else {
    const Encoding stored = quantized_encoding(encoding, kind);
    w.group_size = group_size(kind);
    if (in_features % w.group_size != 0) {
      throw std::invalid_argument("rows of " + std::to_string(in_features) + " inputs can't be kept in groups of " +
                                  std::to_string(w.group_size));
    }
    w.zero_point = zero_point(stored);
    w.has_minimum = w.zero_point == 0;
    w.scale_kind = encoding >= Encoding::q4_k ? ScaleKind::block : ScaleKind::f16;
    const int64_t num_lines = w.group_size / 4;
    const int64_t num_code_lines =
        kind == WeightKind::q8 ? num_lines : kind == WeightKind::q4 ? num_lines / 2 : num_lines / 2 + 1;
    const int64_t num_factors = w.has_minimum ? 2 : 1;
    const int64_t factor_bytes = w.scale_kind == ScaleKind::f16 ? 2 : 1;
    w.record_bytes = static_cast<size_t>(64 * num_code_lines + kTileRows * factor_bytes * num_factors);
    if (w.scale_kind == ScaleKind::block)
      w.header_bytes = static_cast<size_t>(in_features / kScaleBlock * 2 * kTileRows * num_factors);
    num_records = in_features / w.group_size;
  }
  w.tile_bytes = align_up(w.header_bytes + w.record_bytes * static_cast<size_t>(num_records));
  return w;
}

size_t packed_bytes(const PackedWeight& layout) { return layout.tile_bytes * static_cast<size_t>(layout.num_tiles); }

PackedWeight WeightStore::pack(Encoding encoding, WeightKind kind, int64_t out_features, int64_t in_features,
                               const uint8_t* bytes, size_t num_bytes) {
  PackedWeight w = packed_layout(encoding, kind, out_features, in_features);
  check_bytes(encoding, out_features, in_features, num_bytes);
  uint8_t* data = allocate(packed_bytes(w));
  const EncodingInfo& info = encoding_info(encoding);
  const int64_t row_bytes = in_features / info.block_size * info.block_bytes;
  const int64_t grain = std::max<int64_t>(1, (int64_t{128} << 10) / static_cast<int64_t>(w.tile_bytes));
  parallel_for(threads_, w.num_tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile * kTileRows;
      const TileSource source{encoding, bytes + row * row_bytes, row_bytes, std::min(kTileRows, out_features - row)};
      pack_tile(w, source, data + tile * static_cast<int64_t>(w.tile_bytes));
    }
  });
  w.data = data;
  return w;
}

uint8_t* WeightStore::allocate(size_t num_bytes) {
  const size_t size = align_up(num_bytes);
  if (mappings_.empty() || used_of_last_ + size > mappings_.back().size()) {
    mappings_.emplace_back(std::max(size, kMappingBytes));
    used_of_last_ = 0;
  }
  uint8_t* data = mappings_.back().data() + used_of_last_;
  used_of_last_ += size;
  used_bytes_ += size;
  return data;
}

void unpack(const PackedWeight& w, float* out) {
  for (int64_t row = 0; row < w.out_features; ++row, out += w.in_features) {
    if (!is_float(w.kind)) {
      embed_row_quantized(w, row, out);
      continue;
    }
    const uint8_t* tile = w.data + row / kTileRows * static_cast<int64_t>(w.tile_bytes);
    for (int64_t i = 0; i < w.in_features; ++i) out[i] = unpack_float(w, tile, row % kTileRows, i);
  }
}

void decode(Encoding encoding, const uint8_t* bytes, int64_t count, float* out) {
  switch (encoding) {
    case Encoding::f32:
      std::memcpy(out, bytes, static_cast<size_t>(count) * sizeof(float));
      return;
    case Encoding::f16:
      for (int64_t i = 0; i < count; ++i) out[i] = f16_to_f32(load_unaligned<uint16_t>(bytes + 2 * i));
      return;
    case Encoding::bf16:
      for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(load_unaligned<uint16_t>(bytes + 2 * i));
      return;
    default:
      break;
  }
  const EncodingInfo& info = encoding_info(encoding);
  const int32_t zero = zero_point(encoding);
  const int64_t size = group_size(own_kind(encoding));
  Group groups[kMaxGroupsPerBlock];
  for (int64_t block = 0; block < count / info.block_size; ++block) {
    decode_block(encoding, bytes + block * info.block_bytes, groups);
    for (int64_t i = 0; i < info.block_size; ++i) {
      const Group& group = groups[i / size];
      const int code = group.codes[i % size];
      *out++ = zero == 0 ? group.scale * static_cast<float>(code) + group.minimum
                         : group.scale * static_cast<float>(code - zero);
    }
  }
}

}  // namespace inglenook
