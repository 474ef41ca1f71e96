// Sixteen float lanes in two 256-bit registers. Included by isa_avx2.cpp only.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace inglenook {
namespace {

struct Vec {
  __m256 lo, hi;
};

inline __m256i lanes_below(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline Vec splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Vec load_first(const float* p, int count) {
  return {_mm256_maskload_ps(p, lanes_below(count)), _mm256_maskload_ps(p + 8, lanes_below(count - 8))};
}
inline void store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline void store_first(float* p, Vec a, int count) {
  _mm256_maskstore_ps(p, lanes_below(count), a.lo);
  _mm256_maskstore_ps(p + 8, lanes_below(count - 8), a.hi);
}

// Overloads on the type: attention and linear read float32 and float16 with the same code.
inline Vec load(const uint16_t* f16) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(f16))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(f16 + 8)))};
}
inline void store(uint16_t* f16, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(f16), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(f16 + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
inline Vec fma(Vec a, Vec b, Vec c) {  // a * b + c
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
// Where b is NaN, so is the result; NaN in a is dropped.
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
inline Vec round(Vec a) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, mode), _mm256_round_ps(a.hi, mode)};
}
inline Vec abs(Vec a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.lo), _mm256_and_ps(bit, sign.lo)),
          _mm256_or_ps(_mm256_andnot_ps(bit, magnitude.hi), _mm256_and_ps(bit, sign.hi))};
}
inline Vec if_less(Vec a, Vec b, Vec then, Vec otherwise) {
  return {_mm256_blendv_ps(otherwise.lo, then.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(otherwise.hi, then.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
// In two halves, so that the power itself stays a normal number down to 2^-252.
inline __m256 times_power_of_two(__m256 a, __m256 exponent) {
  const __m256i n = _mm256_cvtps_epi32(exponent);
  const __m256i half = _mm256_srai_epi32(n, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
inline Vec times_power_of_two(Vec a, Vec exponent) {
  return {times_power_of_two(a.lo, exponent.lo), times_power_of_two(a.hi, exponent.hi)};
}
inline float sum_lanes(Vec a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float max_lanes(Vec a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Rounds to nearest even; NaN stays NaN.
inline __m256i bf16_bits(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256 is_nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
  const __m256i nan = _mm256_set1_epi32(0x7fc00000);
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, nan, _mm256_castps_si256(is_nan)), 16);
}
inline void store_bf16(uint16_t* p, Vec a) {
  const __m256i mixed = _mm256_packus_epi32(bf16_bits(a.lo), bf16_bits(a.hi));  // 0-3 8-11 4-7 12-15
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
}

inline void store_small_bf16(uint16_t* p, Vec a) { store_bf16(p, a); }

// Pairs of bfloat16 are multiplied in kPairParts steps: part 0 is the second of each pair, part 1 the first, widened to
// float, of which a bfloat16 is the upper half.
constexpr int kPairParts = 2;
using PairVec = Vec;
template <int kPart>
inline __m256 widen_pairs(__m256i pairs) {
  if constexpr (kPart == 1) return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u))));
}
template <int kPart>
inline PairVec load_pairs(const uint8_t* p) {
  return {widen_pairs<kPart>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
          widen_pairs<kPart>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32)))};
}
template <int kPart>
inline PairVec splat_pair(const uint16_t* p) {
  // Masked either time: shifts would take the multiply-adds' ports.
  const __m256 x = widen_pairs<0>(_mm256_set1_epi16(static_cast<int16_t>(p[1 - kPart])));
  return {x, x};
}
inline Vec dot_pairs(Vec sum, PairVec a, PairVec b) { return fma(a, b, sum); }

// The same of 16 codes and 16 codes: an integer of 8 bits fits into a bfloat16.
inline __m256 widen_codes(const int8_t* codes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes))));
}
template <int kPart>
inline PairVec load_code_pairs(const int8_t* codes) {
  const int8_t* part = codes + 16 * (1 - kPart);
  return {widen_codes(part), widen_codes(part + 8)};
}
inline void store_code_pairs(uint32_t* out, const int8_t* codes) {
  for (int i = 0; i < 16; i += 8) {
    const __m256i first = _mm256_castps_si256(widen_codes(codes + i));
    const __m256i second = _mm256_castps_si256(widen_codes(codes + 16 + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_or_si256(_mm256_srli_epi32(first, 16), second));
  }
}

// Register blocking: how many accumulators fit beside the operands.
constexpr int kMaxRowBlock = 6;
constexpr int tiles_for_rows(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }
constexpr int kScoreRows = 4;  // attention: rows and vectors of scores, of values
constexpr int kScoreVecs = 1;
constexpr int kValueRows = 4;
constexpr int kValueVecs = 1;

}  // namespace
}  // namespace inglenook
