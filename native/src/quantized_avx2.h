// The vector steps of linear_quantized.inl for AVX2: 8 output rows a register, half a tile.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace inglenook {
namespace {
namespace quantized {

constexpr int kLanes = 8;
constexpr int kMaxRows = 4;
constexpr int kRowsOfWholeTiles = 2;  // with more, a tile is passed over twice, half of its rows at a time
constexpr bool kSignedEight = true;   // see Line<8>

using Bytes = __m256i;
using Ints = __m256i;
using Floats = __m256;

inline Bytes load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(0x0f)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }

template <int kLeft>
inline Bytes insert_bits(Bytes nibbles, Bytes bits, uint8_t mask) {
  const Bytes shifted = kLeft >= 0 ? _mm256_slli_epi16(bits, kLeft >= 0 ? kLeft : 0)
                                   : _mm256_srli_epi16(bits, kLeft < 0 ? -kLeft : 0);
  return _mm256_or_si256(nibbles, _mm256_and_si256(shifted, _mm256_set1_epi8(static_cast<char>(mask))));
}

inline Floats zero() { return _mm256_setzero_ps(); }
inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
inline Floats load_half(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Ints load_int8(const uint8_t* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Floats splat(float v) { return _mm256_set1_ps(v); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }

inline __m256i first_lanes(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Floats load_first(const float* p, int64_t count) { return _mm256_maskload_ps(p, first_lanes(count)); }
inline void store_first(float* p, Floats v, int64_t count) { _mm256_maskstore_ps(p, first_lanes(count), v); }

using Quad = __m256i;
inline Quad load_quad(const int8_t* p) {
  int32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm256_set1_epi32(bits);
}

template <int kBits>
struct Line {
  Bytes codes;
  explicit Line(Bytes packed) : codes(packed) {}
  __m256i pairs(Quad quad) const { return _mm256_maddubs_epi16(codes, quad); }
};

// vpmaddubsw adds two products in 16 bits, which 255 * 127 * 2 overflows. With the sign moved from the weight to the
// activation the largest sum is 128 * 127 * 2 = 32512.
template <>
struct Line<8> {
  Bytes codes;
  Bytes magnitudes;
  explicit Line(Bytes packed)
      : codes(_mm256_xor_si256(packed, _mm256_set1_epi8(static_cast<char>(0x80)))),
        magnitudes(_mm256_abs_epi8(codes)) {}
  __m256i pairs(Quad quad) const { return _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(quad, codes)); }
};

// Sums of pairs stay in 16 bits for as many lines as can't overflow: (2^bits - 1) * 127 * 2 * lines < 2^15.
template <int kBits>
struct Dot {
  static constexpr int kNarrowLines = kBits == 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
  __m256i narrow;
  Ints sum;
  void start(int32_t initial) { sum = _mm256_set1_epi32(initial); }
  void add(int index, const Line<kBits>& line, Quad quad) {
    const __m256i pairs = line.pairs(quad);
    narrow = index % kNarrowLines == 0 ? pairs : _mm256_add_epi16(narrow, pairs);
    if (index % kNarrowLines == kNarrowLines - 1) {
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(narrow, _mm256_set1_epi16(1)));
    }
  }
  Ints result() const { return sum; }
};

inline int32_t sum_of_16(__m128i codes) {
  const __m128i pairs = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), codes), _mm_set1_epi16(1));
  const __m128i halves = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(halves, _mm_shuffle_epi32(halves, 0xb1)));
}

inline uint32_t largest_magnitude(const float* x) {
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 32; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    largest = _mm256_max_epu32(largest, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
  }
  __m128i four = _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
}

inline void quantize_32(const float* x, float inverse, int8_t* codes, int32_t* sums) {
  for (int half = 0; half < 2; ++half) {
    const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(load(x + 16 * half), splat(inverse)));
    const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(load(x + 16 * half + 8), splat(inverse)));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16 * half), bytes);
    sums[half] = sum_of_16(bytes);
  }
}

}  // namespace quantized
}  // namespace
}  // namespace inglenook
