// Sixteen float lanes in one 512-bit register. Included by isa_avx512.cpp only.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace inglenook {
namespace {

struct Vec {
  __m512 v;
};
struct PairVec {  // sixteen pairs of bfloat16
  __m512i v;
};

inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }

inline Vec splat(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec load_first(const float* p, int count) { return {_mm512_maskz_loadu_ps(first_lanes(count), p)}; }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline void store_first(float* p, Vec a, int count) { _mm512_mask_storeu_ps(p, first_lanes(count), a.v); }

// Overloads on the type: attention and linear read float32 and float16 with the same code.
inline Vec load(const uint16_t* f16) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(f16)))};
}
inline void store(uint16_t* f16, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(f16), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
// Where b is NaN, so is the result; NaN in a is dropped.
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7fffffff), _mm512_castps_si512(magnitude.v),
                                                        _mm512_castps_si512(sign.v), 0xca))};
}
inline Vec if_less(Vec a, Vec b, Vec then, Vec otherwise) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), otherwise.v, then.v)};
}
inline Vec times_power_of_two(Vec a, Vec exponent) { return {_mm512_scalef_ps(a.v, exponent.v)}; }
inline __m256 upper_half(Vec a) { return _mm512_extractf32x8_ps(a.v, 1); }
inline float sum_lanes(Vec a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float max_lanes(Vec a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Rounds to nearest even; NaN stays NaN.
inline void store_bf16(uint16_t* p, Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i high = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7fc00000)), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(high));
}

// For values in [0, 1]: subnormal ones may become 0.
inline void store_small_bf16(uint16_t* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(a.v));
}

// Pairs of bfloat16 are multiplied in kPairParts steps; here in one, which adds the second product, then the first.
constexpr int kPairParts = 1;
template <int kPart>
inline PairVec load_pairs(const uint8_t* p) {
  return {_mm512_loadu_si512(p)};
}
template <int kPart>
inline PairVec splat_pair(const uint16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return {_mm512_set1_epi32(pair)};
}
inline Vec dot_pairs(Vec sum, PairVec a, PairVec b) {
  return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
}

// The same of 16 codes and 16 codes: an integer of 8 bits fits into a bfloat16.
template <int kPart>
inline PairVec load_code_pairs(const int8_t* codes) {
  const __m128i* parts = reinterpret_cast<const __m128i*>(codes);
  const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(parts)));
  const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(parts + 1)));
  return {_mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(first), 16), _mm512_castps_si512(second))};
}
inline void store_code_pairs(uint32_t* out, const int8_t* codes) {
  _mm512_storeu_si512(out, load_code_pairs<0>(codes).v);
}

// Register blocking: how many accumulators fit beside the operands.
constexpr int kMaxRowBlock = 12;
constexpr int tiles_for_rows(int rows) { return rows <= 6 ? 4 : 2; }
constexpr int kScoreRows = 12;  // attention: rows and vectors of scores, of values
constexpr int kScoreVecs = 2;
constexpr int kValueRows = 6;
constexpr int kValueVecs = 4;

}  // namespace
}  // namespace inglenook
