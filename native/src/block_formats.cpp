#include "block_formats.h"

#include <cstring>
#include <stdexcept>
#include <string>

#include "half.h"

namespace inglenook {

namespace {

constexpr EncodingInfo kEncodings[] = {
    {"f32", 1, 4},    {"f16", 1, 2},    {"bf16", 1, 2},    {"q8_0", 32, 34},  {"q4_0", 32, 18},  {"q4_1", 32, 20},
    {"q5_0", 32, 22}, {"q5_1", 32, 24}, {"q4_k", 256, 144}, {"q5_k", 256, 176}, {"q6_k", 256, 210},
};

float half_at(const uint8_t* p) { return f16_to_f32(load_unaligned<uint16_t>(p)); }

// Byte i holds weight i in its low nibble and weight i + 16 in its high one.
void split_nibbles(const uint8_t* __restrict packed, uint8_t* __restrict codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = packed[i] & 0x0f;
    codes[i + 16] = packed[i] >> 4;
  }
}

void insert_fifth_bits(uint32_t bits, uint8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] |= static_cast<uint8_t>((bits >> i & 1u) << 4);
}

// The 6-bit scale and minimum of group 0 to 7, packed in 12 bytes.
void group_factors(const uint8_t* packed, int group, int& scale, int& minimum) {
  if (group < 4) {
    scale = packed[group] & 63;
    minimum = packed[group + 4] & 63;
  } else {
    scale = (packed[group + 4] & 0x0f) | (packed[group - 4] >> 6) << 4;
    minimum = packed[group + 4] >> 4 | (packed[group] >> 6) << 4;
  }
}

void set_factors(Group& group, uint16_t scale_factor, int scale, uint16_t minimum_factor, int minimum) {
  group.scale_factor = scale_factor;
  group.minimum_factor = minimum_factor;
  group.scale_code = static_cast<int8_t>(scale);
  group.minimum_code = static_cast<int8_t>(minimum);
  group.scale = f16_to_f32(scale_factor) * static_cast<float>(scale);
  group.minimum = f16_to_f32(minimum_factor) * static_cast<float>(minimum);
}

// d, dmin, 12 bytes of scales, (q5_k: 32 bytes of fifth bits), 128 bytes of nibbles: 64 weights share 32 bytes.
void decode_4_5_k(const uint8_t* block, bool has_fifth_bits, Group* groups) {
  const uint16_t scale_factor = load_unaligned<uint16_t>(block);
  const uint16_t minimum_factor = load_unaligned<uint16_t>(block + 2) ^ 0x8000u;  // the format subtracts it
  const uint8_t* fifth_bits = block + 16;
  const uint8_t* nibbles = block + (has_fifth_bits ? 48 : 16);
  for (int g = 0; g < 8; ++g) {
    int group_scale;
    int group_minimum;
    group_factors(block + 4, g, group_scale, group_minimum);
    set_factors(groups[g], scale_factor, group_scale, minimum_factor, group_minimum);
    const uint8_t* packed = nibbles + g / 2 * 32;
    const int shift = g % 2 * 4;
    for (int i = 0; i < 32; ++i) groups[g].codes[i] = packed[i] >> shift & 0x0f;
    if (!has_fifth_bits) continue;
    for (int i = 0; i < 32; ++i) groups[g].codes[i] |= static_cast<uint8_t>((fifth_bits[i] >> g & 1) << 4);
  }
}

// 128 bytes of nibbles, 64 bytes of upper pairs of bits, 16 scales of 8 bits, d. Of 128 weights, 0-31 and 64-95 share
// 32 bytes of nibbles, 32-63 and 96-127 the next 32; all four share 32 bytes of pairs.
void decode_6_k(const uint8_t* block, Group* groups) {
  const uint16_t scale_factor = load_unaligned<uint16_t>(block + 208);
  for (int g = 0; g < 16; ++g) {
    const int quarter = g % 8 / 2;
    const uint8_t* nibbles = block + g / 8 * 64 + quarter % 2 * 32 + g % 2 * 16;
    const uint8_t* pairs = block + 128 + g / 8 * 32 + g % 2 * 16;
    set_factors(groups[g], scale_factor, static_cast<int8_t>(block[192 + g]), 0, 0);
    for (int i = 0; i < 16; ++i) {
      groups[g].codes[i] = static_cast<uint8_t>((nibbles[i] >> quarter / 2 * 4 & 0x0f) |
                                                (pairs[i] >> 2 * quarter & 3) << 4);
    }
  }
}

}  // namespace

const EncodingInfo& encoding_info(Encoding encoding) { return kEncodings[static_cast<int>(encoding)]; }

Encoding parse_encoding(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kEncodings)); ++i) {
    if (name == kEncodings[i].name) return static_cast<Encoding>(i);
  }
  throw std::invalid_argument("unknown encoding " + std::string(name));
}

void decode_block(Encoding encoding, const uint8_t* block, Group* groups) {
  Group& group = *groups;
  group.minimum = 0.0f;
  group.scale = half_at(block);  // of all but the K formats, which set it again
  switch (encoding) {
    case Encoding::q8_0:
      // two's complement to an offset of 128
      for (int i = 0; i < 32; ++i) group.codes[i] = block[2 + i] ^ 0x80;
      return;
    case Encoding::q4_0:
      return split_nibbles(block + 2, group.codes);
    case Encoding::q4_1:
      group.minimum = half_at(block + 2);
      return split_nibbles(block + 4, group.codes);
    case Encoding::q5_0:
      split_nibbles(block + 6, group.codes);
      return insert_fifth_bits(load_unaligned<uint32_t>(block + 2), group.codes);
    case Encoding::q5_1:
      group.minimum = half_at(block + 2);
      split_nibbles(block + 8, group.codes);
      return insert_fifth_bits(load_unaligned<uint32_t>(block + 4), group.codes);
    case Encoding::q4_k:
      return decode_4_5_k(block, false, groups);
    case Encoding::q5_k:
      return decode_4_5_k(block, true, groups);
    case Encoding::q6_k:
      return decode_6_k(block, groups);
    default:
      throw std::logic_error("decode_block takes quantised encodings");
  }
}

}  // namespace inglenook
