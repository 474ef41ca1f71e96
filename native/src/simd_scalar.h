// Sixteen float lanes in plain C++ with the compiler's generic vectors (GCC, Clang): any processor, whatever it has.
// Four vectors of four, the size that every processor's registers have: larger ones GCC keeps in memory.
// Products and sums are rounded one by one. Included by isa_scalar.cpp only.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace inglenook {
namespace {

typedef float Lanes __attribute__((vector_size(16)));
typedef int32_t IntLanes __attribute__((vector_size(16)));
typedef uint32_t UintLanes __attribute__((vector_size(16)));
typedef uint16_t HalfLanes __attribute__((vector_size(8)));

struct Vec {
  Lanes v[4];
};

template <class Function>
inline Vec each(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}

template <class To, class From>
inline To bits_as(From from) {
  To to;
  static_assert(sizeof(to) == sizeof(from));
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

template <class To>
inline To load_lanes(const void* p) {
  To to;
  std::memcpy(&to, p, sizeof(to));
  return to;
}

inline Vec splat(float x) {
  const Lanes lanes = Lanes{} + x;
  return {{lanes, lanes, lanes, lanes}};
}
inline Vec load(const float* p) {
  return each([=](int i) { return load_lanes<Lanes>(p + 4 * i); });
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
inline Lanes choose(IntLanes mask, Lanes then, Lanes otherwise) {
  return bits_as<Lanes>(choose(mask, bits_as<UintLanes>(then), bits_as<UintLanes>(otherwise)));
}

// IEEE binary16: shifted into place, its exponent is 112 too small, which a product puts right for subnormals as well.
inline Lanes widen(HalfLanes half) {
  const UintLanes wide = __builtin_convertvector(half, UintLanes);
  const UintLanes rest = (wide & 0x7fffu) << 13;
  const UintLanes finite = bits_as<UintLanes>(bits_as<Lanes>(rest) * 0x1p112f);
  const IntLanes is_special = bits_as<IntLanes>(rest) >= (0x7c00 << 13);  // infinite or NaN
  const UintLanes exponent = bits_as<UintLanes>(is_special) & 0x7f800000u;
  return bits_as<Lanes>(finite | exponent | (wide & 0x8000u) << 16);
}
inline HalfLanes narrow(Lanes a) {
  const UintLanes bits = bits_as<UintLanes>(a);
  const UintLanes sign = (bits >> 16) & 0x8000u;
  const UintLanes rest = bits & 0x7fffffffu;
  const IntLanes size = bits_as<IntLanes>(rest);  // signed: old processors compare nothing else
  const UintLanes normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  // Adding 0.5 shifts a subnormal's bits to the lower end, rounded to nearest even.
  const UintLanes tiny = bits_as<UintLanes>(bits_as<Lanes>(rest) + 0.5f) - (126u << 23);
  UintLanes half = choose(size < (113 << 23), tiny, normal);
  half = choose(size >= (143 << 23), UintLanes{} + 0x7c00u, half);
  half = choose(size > (255 << 23), UintLanes{} + 0x7e00u, half) | sign;
  return __builtin_convertvector(half, HalfLanes);
}
inline Vec load(const uint16_t* f16) {
  return each([=](int i) { return widen(load_lanes<HalfLanes>(f16 + 4 * i)); });
}
inline void store(uint16_t* f16, Vec a) {
  for (int i = 0; i < 4; ++i) {
    const HalfLanes half = narrow(a.v[i]);
    std::memcpy(f16 + 4 * i, &half, sizeof(half));
  }
}

inline Vec operator+(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec operator-(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec operator*(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec operator/(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
// Where b is NaN, so is the result; NaN in a is dropped.
inline Vec max(Vec a, Vec b) {
  return each([&](int i) { return choose(a.v[i] > b.v[i], a.v[i], b.v[i]); });
}
inline Vec min(Vec a, Vec b) {
  return each([&](int i) { return choose(a.v[i] < b.v[i], a.v[i], b.v[i]); });
}
inline Vec abs(Vec a) {
  return each([&](int i) { return bits_as<Lanes>(bits_as<UintLanes>(a.v[i]) & 0x7fffffffu); });
}
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  return each([&](int i) {
    const UintLanes size = bits_as<UintLanes>(magnitude.v[i]) & 0x7fffffffu;
    return bits_as<Lanes>(size | (bits_as<UintLanes>(sign.v[i]) & 0x80000000u));
  });
}
// For |a| < 2^22: the sum has no bits left below one.
inline Vec round(Vec a) {
  const Vec magic = with_sign_of(splat(8388608.0f), a);
  return (a + magic) - magic;
}
inline Vec if_less(Vec a, Vec b, Vec then, Vec otherwise) {
  return each([&](int i) { return choose(a.v[i] < b.v[i], then.v[i], otherwise.v[i]); });
}
// In two halves, so that the power itself stays a normal number down to 2^-252.
inline Vec times_power_of_two(Vec a, Vec exponent) {
  return each([&](int i) {
    const IntLanes n = __builtin_convertvector(exponent.v[i], IntLanes);
    const IntLanes half = n >> 1;
    return a.v[i] * bits_as<Lanes>((half + 127) << 23) * bits_as<Lanes>((n - half + 127) << 23);
  });
}
inline float sum_lanes(Vec a) {
  float s[16];
  store(s, a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) s[i] += s[i + width];
  return s[0];
}
inline float max_lanes(Vec a) {
  float s[16];
  store(s, a);
  float m = s[0];
  for (int i = 1; i < 16; ++i) m = s[i] > m ? s[i] : m;
  return m;
}

// Rounds to nearest even; NaN stays NaN.
inline void store_bf16(uint16_t* p, Vec a) {
  for (int i = 0; i < 4; ++i) {
    const UintLanes bits = bits_as<UintLanes>(a.v[i]);
    const UintLanes rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const UintLanes high = choose(a.v[i] != a.v[i], UintLanes{} + 0x7fc0u, rounded);
    const HalfLanes half = __builtin_convertvector(high, HalfLanes);
    std::memcpy(p + 4 * i, &half, sizeof(half));
  }
}

inline void store_small_bf16(uint16_t* p, Vec a) { store_bf16(p, a); }

// Pairs of bfloat16 are multiplied in kPairParts steps: part 0 is the second of each pair, part 1 the first, widened to
// float, of which a bfloat16 is the upper half.
constexpr int kPairParts = 2;
using PairVec = Vec;
template <int kPart>
inline PairVec load_pairs(const uint8_t* p) {
  return each([=](int i) {
    const UintLanes pairs = load_lanes<UintLanes>(p + 16 * i);
    return bits_as<Lanes>(kPart == 1 ? pairs << 16 : pairs & 0xffff0000u);
  });
}
template <int kPart>
inline PairVec splat_pair(const uint16_t* p) {
  const uint32_t bits = uint32_t{p[1 - kPart]} << 16;
  return splat(bits_as<float>(bits));
}
inline Vec dot_pairs(Vec sum, PairVec a, PairVec b) { return fma(a, b, sum); }

// The same of 16 codes and 16 codes: an integer of 8 bits fits into a bfloat16.
template <int kPart>
inline PairVec load_code_pairs(const int8_t* codes) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = codes[16 * (1 - kPart) + i];
  return load(lanes);
}
inline void store_code_pairs(uint32_t* out, const int8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    const uint32_t first = bits_as<uint32_t>(static_cast<float>(codes[i]));
    out[i] = first >> 16 | bits_as<uint32_t>(static_cast<float>(codes[16 + i]));
  }
}

// Register blocking: how many accumulators fit beside the operands.
constexpr int kMaxRowBlock = 3;
constexpr int tiles_for_rows(int rows) { return rows == 1 ? 2 : 1; }
constexpr int kScoreRows = 1;  // attention: rows and vectors of scores, of values
constexpr int kScoreVecs = 1;
constexpr int kValueRows = 1;
constexpr int kValueVecs = 1;

}  // namespace
}  // namespace inglenook
