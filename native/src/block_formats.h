// Reads the block formats of ggml (llama.cpp, ggml-common.h and ggml-quants.c) into groups of codes.
#pragma once

#include <cstdint>
#include <string_view>

namespace inglenook {

enum class Encoding : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k };

struct EncodingInfo {
  const char* name;
  int64_t block_size;  // weights
  int64_t block_bytes;
};
const EncodingInfo& encoding_info(Encoding encoding);
Encoding parse_encoding(std::string_view name);  // throws std::invalid_argument
inline bool is_float(Encoding encoding) { return encoding <= Encoding::bf16; }

// 32 weights (16 with q6_k): scale * (code - zero point of the format), or scale * code + minimum.
struct Group {
  alignas(16) uint8_t codes[32];
  float scale;
  float minimum;
  // K formats: scale = scale_factor * scale_code, minimum = minimum_factor * minimum_code, factors as binary16.
  uint16_t scale_factor;
  uint16_t minimum_factor;
  int8_t scale_code;
  int8_t minimum_code;
};
constexpr int kMaxGroupsPerBlock = 16;

// One block of a quantised encoding into its groups, in order.
void decode_block(Encoding encoding, const uint8_t* block, Group* groups);

}  // namespace inglenook
