// The vector steps of linear_quantized.inl for AVX-512 with VNNI: 16 output rows a register.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace inglenook {
namespace {
namespace quantized {

constexpr int kLanes = 16;
constexpr int kMaxRows = 12;  // whose sums and dots stay in registers while weights stream by
constexpr int kRowsOfWholeTiles = kMaxRows;
constexpr bool kSignedEight = false;  // 8-bit codes are multiplied unsigned, the zero point goes into the sum

using Bytes = __m512i;
using Ints = __m512i;
using Floats = __m512;

inline Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline Bytes low_nibbles(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(0x0f)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

// nibbles | (bits shifted left by kLeft) & mask; bytes don't mix, as the mask keeps bits that stayed in theirs.
template <int kLeft>
inline Bytes insert_bits(Bytes nibbles, Bytes bits, uint8_t mask) {
  const Bytes shifted = kLeft >= 0 ? _mm512_slli_epi16(bits, kLeft >= 0 ? kLeft : 0)
                                   : _mm512_srli_epi16(bits, kLeft < 0 ? -kLeft : 0);
  return _mm512_ternarylogic_epi32(nibbles, shifted, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
}

inline Floats zero() { return _mm512_setzero_ps(); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
inline Floats load_half(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Ints load_int8(const uint8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Floats splat(float v) { return _mm512_set1_ps(v); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }

inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1u);
}
inline Floats load_first(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
inline void store_first(float* p, Floats v, int64_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }

// Four neighbouring activations of one row, in every lane.
using Quad = __m512i;
inline Quad load_quad(const int8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm512_set1_epi32(bits);
}

template <int kBits>
struct Line {
  Bytes codes;
  explicit Line(Bytes packed) : codes(packed) {}
};

// Exact sum over a group of code * activation. The 32-bit form takes any number of lines.
template <int kBits>
struct Dot {
  Ints sum;
  void start(int32_t initial) { sum = _mm512_set1_epi32(initial); }
  void add(int, const Line<kBits>& line, Quad quad) { sum = _mm512_dpbusd_epi32(sum, line.codes, quad); }
  Ints result() const { return sum; }
};

inline int32_t sum_of_16(__m128i codes) {
  const __m128i pairs = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), codes);
  const __m128i halves = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(halves, _mm_shuffle_epi32(halves, 0xb1)));
}

// The largest magnitude of 32 floats as the bits of a float: as integers NaN is above infinity is above numbers.
inline uint32_t largest_magnitude(const float* x) {
  const __m512i mask = _mm512_set1_epi32(0x7fffffff);
  const __m512i low = _mm512_and_si512(_mm512_loadu_si512(x), mask);
  const __m512i high = _mm512_and_si512(_mm512_loadu_si512(x + 16), mask);
  return _mm512_reduce_max_epu32(_mm512_max_epu32(low, high));
}

// codes = x * inverse rounded to nearest, and the sums of either 16.
inline void quantize_32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
  for (int half = 0; half < 2; ++half) {
    const Ints rounded = _mm512_cvtps_epi32(_mm512_mul_ps(load(x + 16 * half), splat(inverse)));
    const __m128i bytes = _mm512_cvtsepi32_epi8(rounded);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16 * half), bytes);
    sums[half] = sum_of_16(bytes);
  }
}

}  // namespace quantized
}  // namespace
}  // namespace inglenook
