// Sixteen float lanes in plain C++ with the compiler's generic vectors (GCC, Clang): any processor, whatever it has.
// Products and sums are rounded one by one. Included by isa_scalar.cpp only.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace inglenook {
namespace {

typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint32_t UintLanes __attribute__((vector_size(64)));
typedef uint16_t HalfLanes __attribute__((vector_size(32)));

struct Vec {
  Lanes v;
};
struct PairVec {  // sixteen pairs of bfloat16
  UintLanes v;
};

template <class To, class From>
inline To bits_as(From from) {
  To to;
  static_assert(sizeof(to) == sizeof(from));
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline Vec splat(float x) { return {Lanes{} + x}; }
inline Vec load(const float* p) {
  Vec a;
  std::memcpy(&a, p, sizeof(a));
  return a;
}
inline Vec load_first(const float* p, int count) {
  Vec a = splat(0.0f);
  std::memcpy(&a, p, sizeof(float) * count);
  return a;
}
inline void store(float* p, Vec a) { std::memcpy(p, &a, sizeof(a)); }
inline void store_first(float* p, Vec a, int count) { std::memcpy(p, &a, sizeof(float) * count); }

inline UintLanes choose(IntLanes mask, UintLanes then, UintLanes otherwise) {
  const UintLanes bits = bits_as<UintLanes>(mask);
  return (then & bits) | (otherwise & ~bits);
}

// IEEE binary16: shifted into place, its exponent is 112 too small, which a product puts right for subnormals as well.
inline Vec load(const uint16_t* f16) {
  HalfLanes half;
  std::memcpy(&half, f16, sizeof(half));
  const UintLanes wide = __builtin_convertvector(half, UintLanes);
  const UintLanes rest = (wide & 0x7fffu) << 13;
  const UintLanes finite = bits_as<UintLanes>(bits_as<Lanes>(rest) * 0x1p112f);
  const IntLanes is_special = bits_as<IntLanes>(rest) >= (0x7c00 << 13);  // infinite or NaN
  const UintLanes exponent = bits_as<UintLanes>(is_special) & 0x7f800000u;
  return {bits_as<Lanes>(finite | exponent | (wide & 0x8000u) << 16)};
}
inline void store(uint16_t* f16, Vec a) {
  const UintLanes bits = bits_as<UintLanes>(a.v);
  const UintLanes sign = (bits >> 16) & 0x8000u;
  const UintLanes rest = bits & 0x7fffffffu;
  const IntLanes size = bits_as<IntLanes>(rest);  // signed: old processors compare nothing else
  const UintLanes normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  // Adding 0.5 shifts a subnormal's bits to the lower end, rounded to nearest even.
  const UintLanes tiny = bits_as<UintLanes>(bits_as<Lanes>(rest) + 0.5f) - (126u << 23);
  UintLanes half = choose(size < (113 << 23), tiny, normal);
  half = choose(size >= (143 << 23), UintLanes{} + 0x7c00u, half);
  half = choose(size > (255 << 23), UintLanes{} + 0x7e00u, half) | sign;
  const HalfLanes narrow = __builtin_convertvector(half, HalfLanes);
  std::memcpy(f16, &narrow, sizeof(narrow));
}

inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
inline Vec select(IntLanes mask, Vec then, Vec otherwise) {
  return {bits_as<Lanes>(choose(mask, bits_as<UintLanes>(then.v), bits_as<UintLanes>(otherwise.v)))};
}
// Where b is NaN, so is the result; NaN in a is dropped.
inline Vec max(Vec a, Vec b) { return select(a.v > b.v, a, b); }
inline Vec min(Vec a, Vec b) { return select(a.v < b.v, a, b); }
inline Vec abs(Vec a) { return {bits_as<Lanes>(bits_as<UintLanes>(a.v) & 0x7fffffffu)}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  return {bits_as<Lanes>((bits_as<UintLanes>(magnitude.v) & 0x7fffffffu) | (bits_as<UintLanes>(sign.v) & 0x80000000u))};
}
// For |a| < 2^22: the sum has no bits left below one.
inline Vec round(Vec a) {
  const Vec magic = with_sign_of(splat(8388608.0f), a);
  return (a + magic) - magic;
}
inline Vec if_less(Vec a, Vec b, Vec then, Vec otherwise) { return select(a.v < b.v, then, otherwise); }
// In two halves, so that the power itself stays a normal number down to 2^-252.
inline Vec times_power_of_two(Vec a, Vec exponent) {
  const IntLanes n = __builtin_convertvector(exponent.v, IntLanes);
  const IntLanes half = n >> 1;
  return {a.v * bits_as<Lanes>((half + 127) << 23) * bits_as<Lanes>((n - half + 127) << 23)};
}
inline float sum_lanes(Vec a) {
  float s[16];
  store(s, a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) s[i] += s[i + width];
  return s[0];
}
inline float max_lanes(Vec a) {
  float m = a.v[0];
  for (int i = 1; i < 16; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}

// Rounds to nearest even; NaN stays NaN.
inline void store_bf16(uint16_t* p, Vec a) {
  const UintLanes bits = bits_as<UintLanes>(a.v);
  const UintLanes rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const UintLanes high = choose(a.v != a.v, UintLanes{} + 0x7fc0u, rounded);
  const HalfLanes narrow = __builtin_convertvector(high, HalfLanes);
  std::memcpy(p, &narrow, sizeof(narrow));
}

inline PairVec load_pairs(const uint8_t* p) {
  PairVec a;
  std::memcpy(&a, p, sizeof(a));
  return a;
}
inline PairVec splat_pair(uint32_t pair) { return {UintLanes{} + pair}; }
// A bfloat16 is the upper half of a float.
inline Vec first_of_pair(PairVec a) { return {bits_as<Lanes>(a.v << 16)}; }
inline Vec second_of_pair(PairVec a) { return {bits_as<Lanes>(a.v & 0xffff0000u)}; }
inline Vec dot_pairs(Vec sum, PairVec a, PairVec b) {
  sum = fma(second_of_pair(a), second_of_pair(b), sum);
  return fma(first_of_pair(a), first_of_pair(b), sum);
}

// Register blocking: how many accumulators fit beside the operands.
constexpr int kMaxRowBlock = 3;
constexpr int tiles_for_rows(int rows) { return rows == 1 ? 2 : 1; }
constexpr int kScoreRows = 1;  // attention: rows of scores, rows and vectors of values
constexpr int kValueRows = 2;
constexpr int kValueVecs = 1;

}  // namespace
}  // namespace inglenook
