// The vector steps of linear_quantized.inl in plain C++: 16 output rows an array.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <iterator>

#include "half.h"

namespace inglenook {
namespace {
namespace quantized {

constexpr int kLanes = 16;
constexpr int kMaxRows = 2;
constexpr int kRowsOfWholeTiles = kMaxRows;
constexpr bool kSignedEight = false;

struct Bytes {
  uint8_t v[64];
};
struct Ints {
  int32_t v[16];
};
struct Floats {
  float v[16];
};

template <class Vector, class Function>
inline Vector each(Function function) {
  Vector result;
  for (int i = 0; i < static_cast<int>(std::size(result.v)); ++i) result.v[i] = function(i);
  return result;
}

inline Bytes load_bytes(const uint8_t* p) {
  Bytes result;
  std::memcpy(result.v, p, sizeof result.v);
  return result;
}
inline Bytes low_nibbles(const Bytes& b) {
  return each<Bytes>([&](int i) { return static_cast<uint8_t>(b.v[i] & 0x0f); });
}
inline Bytes high_nibbles(const Bytes& b) {
  return each<Bytes>([&](int i) { return static_cast<uint8_t>(b.v[i] >> 4); });
}

template <int kLeft>
inline Bytes insert_bits(const Bytes& nibbles, const Bytes& bits, uint8_t mask) {
  return each<Bytes>([&](int i) {
    const int shifted = kLeft >= 0 ? bits.v[i] << (kLeft >= 0 ? kLeft : 0) : bits.v[i] >> (kLeft < 0 ? -kLeft : 0);
    return static_cast<uint8_t>(nibbles.v[i] | (shifted & mask));
  });
}

inline Ints load_int8(const uint8_t* p) {
  return each<Ints>([&](int i) { return static_cast<int32_t>(static_cast<int8_t>(p[i])); });
}
inline Floats splat(float value) {
  return each<Floats>([=](int) { return value; });
}
inline Floats zero() { return splat(0.0f); }
inline Floats load(const float* p) {
  return each<Floats>([=](int i) { return p[i]; });
}
inline void store(float* p, const Floats& a) { std::memcpy(p, a.v, sizeof a.v); }
inline Floats load_half(const uint8_t* p) {
  return each<Floats>([=](int i) { return f16_to_f32(load_unaligned<uint16_t>(p + 2 * i)); });
}
inline Floats add(const Floats& a, const Floats& b) {
  return each<Floats>([&](int i) { return a.v[i] + b.v[i]; });
}
inline Floats multiply(const Floats& a, const Floats& b) {
  return each<Floats>([&](int i) { return a.v[i] * b.v[i]; });
}
// Two roundings: a fused one would be a call into the mathematics library on processors without it.
inline Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
  return each<Floats>([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline Floats to_floats(const Ints& a) {
  return each<Floats>([&](int i) { return static_cast<float>(a.v[i]); });
}
inline Floats load_first(const float* p, int64_t count) {
  return each<Floats>([=](int i) { return i < count ? p[i] : 0.0f; });
}
inline void store_first(float* p, const Floats& a, int64_t count) {
  std::memcpy(p, a.v, sizeof(float) * static_cast<size_t>(std::min<int64_t>(count, kLanes)));
}

using Quad = const int8_t*;
inline Quad load_quad(const int8_t* p) { return p; }

template <int kBits>
struct Line {
  Bytes codes;
  explicit Line(const Bytes& packed) : codes(packed) {}
};

template <int kBits>
struct Dot {
  Ints sum;
  void start(int32_t initial) {
    sum = each<Ints>([=](int) { return initial; });
  }
  void add(int, const Line<kBits>& line, Quad quad) {
    for (int r = 0; r < kLanes; ++r) {
      const uint8_t* code = line.codes.v + 4 * r;
      sum.v[r] += code[0] * quad[0] + code[1] * quad[1] + code[2] * quad[2] + code[3] * quad[3];
    }
  }
  Ints result() const { return sum; }
};

inline uint32_t largest_magnitude(const float* x) {
  uint32_t largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return largest;
}

inline void quantize_32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
  for (int half = 0; half < 2; ++half) {
    int32_t sum = 0;
    for (int i = 16 * half; i < 16 * half + 16; ++i) {
      // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, like the vector conversions.
      const float rounded = x[i] * inverse + 12582912.0f;
      codes[i] = static_cast<int8_t>(std::bit_cast<int32_t>(rounded) - 0x4b400000);
      sum += codes[i];
    }
    sums[half] = sum;
  }
}

}  // namespace quantized
}  // namespace
}  // namespace inglenook
