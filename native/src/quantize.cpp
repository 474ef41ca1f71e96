#include "quantize.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "clones.h"
#include "half.h"

// The loops over r, 16 rows beside one another, are what the compiler vectorises.
namespace inglenook {

namespace {

using Lanes = float[16];

constexpr float kRoundingShift = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer

// The nearest value that binary16 holds, without branches; the same as half.h's conversion there and back.
inline float round_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0x0fffu + (magnitude >> 13 & 1u)) & ~0x1fffu;
  // a subnormal half is a multiple of 2^-24, which is what the last bit of 0.75 + x counts
  const uint32_t subnormal = std::bit_cast<uint32_t>((std::bit_cast<float>(magnitude) + 0.75f) - 0.75f);
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t rounded = magnitude >= 0x477ff000u ? 0x7f800000u : finite;
  return std::bit_cast<float>(rounded | (bits & 0x80000000u));
}

INGLENOOK_CLONES
void find_range(const TileGroup& values, Lanes& low, Lanes& high) {
  for (int r = 0; r < 16; ++r) low[r] = high[r] = values[0][r];
  for (int i = 1; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      low[r] = values[i][r] < low[r] ? values[i][r] : low[r];
      high[r] = values[i][r] > high[r] ? values[i][r] : high[r];
    }
  }
}

struct Q4Fit {
  Lanes scale;
  Lanes minimum;
  Lanes error;
};

inline float inverse(float value) { return value > 0.0f ? 1.0f / value : 0.0f; }

inline float q4_code(float value, float minimum, float inverse_scale) {
  float code = (value - minimum) * inverse_scale;
  code = code < 0.0f ? 0.0f : code > 15.0f ? 15.0f : code;
  return (code + kRoundingShift) - kRoundingShift;
}

// Least squares line through (code, value), where the codes are those of a first guess.
INGLENOOK_CLONES
void fit_line(const TileGroup& values, const Lanes& low, const Lanes& inverse_step, Lanes& scale, Lanes& minimum) {
  Lanes sum_code = {}, sum_code2 = {}, sum_value = {}, sum_product = {};
  for (int i = 0; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      const float value = values[i][r];
      const float code = q4_code(value, low[r], inverse_step[r]);
      sum_code[r] += code;
      sum_code2[r] += code * code;
      sum_value[r] += value;
      sum_product[r] += value * code;
    }
  }
  for (int r = 0; r < 16; ++r) {
    const float determinant = 32.0f * sum_code2[r] - sum_code[r] * sum_code[r];
    const float slope = (32.0f * sum_product[r] - sum_value[r] * sum_code[r]) / std::max(determinant, 1.0f);
    scale[r] = slope;
    minimum[r] = (sum_value[r] - slope * sum_code[r]) * (1.0f / 32.0f);
  }
}

// Rounds to what is stored, so that the error counted is the error had.
INGLENOOK_CLONES
void round_and_rate(const TileGroup& values, Q4Fit& fit) {
  Lanes scale, minimum, inverse_scale;
  Lanes error = {};
  for (int r = 0; r < 16; ++r) {
    scale[r] = round_to_f16(fit.scale[r] > 0.0f ? fit.scale[r] : 0.0f);
    minimum[r] = round_to_f16(fit.minimum[r]);
    inverse_scale[r] = inverse(scale[r]);
  }
  for (int i = 0; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      const float code = q4_code(values[i][r], minimum[r], inverse_scale[r]);
      const float difference = values[i][r] - (scale[r] * code + minimum[r]);
      error[r] += difference * difference;
    }
  }
  for (int r = 0; r < 16; ++r) {
    fit.scale[r] = scale[r];
    fit.minimum[r] = minimum[r];
    fit.error[r] = error[r];
  }
}

INGLENOOK_CLONES
void q4_codes(const TileGroup& values, const Q4Fit& fit, uint8_t (&codes)[32][16]) {
  Lanes minimum, inverse_scale;  // copies: for all that the compiler knows, writing bytes might change `fit`
  for (int r = 0; r < 16; ++r) {
    minimum[r] = fit.minimum[r];
    inverse_scale[r] = inverse(fit.scale[r]);
  }
  for (int i = 0; i < 32; ++i) {
    int32_t of_input[16];
    for (int r = 0; r < 16; ++r) {
      of_input[r] = static_cast<int32_t>(q4_code(values[i][r], minimum[r], inverse_scale[r]));
    }
    for (int r = 0; r < 16; ++r) codes[i][r] = static_cast<uint8_t>(of_input[r]);
  }
}

INGLENOOK_CLONES
void q8_codes(const TileGroup& values, const Lanes& scale, uint8_t (&codes)[32][16]) {
  Lanes inverse_scale;
  for (int r = 0; r < 16; ++r) inverse_scale[r] = inverse(scale[r]);
  for (int i = 0; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      float code = values[i][r] * inverse_scale[r];
      code = code < -127.0f ? -127.0f : code > 127.0f ? 127.0f : code;
      codes[i][r] = static_cast<uint8_t>(static_cast<int>((code + kRoundingShift) - kRoundingShift) + 128);
    }
  }
}

void hand_out(const uint8_t (&codes)[32][16], const Lanes& scale, const Lanes& minimum, Group* groups) {
  for (int r = 0; r < 16; ++r) {
    groups[r].scale = scale[r];
    groups[r].minimum = minimum[r];
    for (int i = 0; i < 32; ++i) groups[r].codes[i] = codes[i][r];
  }
}

}  // namespace

void quantize_q8(const TileGroup& values, Group* groups) {
  Lanes low, high, scale;
  const Lanes minimum = {};
  uint8_t codes[32][16];
  find_range(values, low, high);
  for (int r = 0; r < 16; ++r) {
    const float largest = std::max(high[r], -low[r]);
    scale[r] = round_to_f16(largest / 127.0f);
    // Small scales are coarse in 16 bits; one that was rounded down too far would cut the largest weight off.
    if (largest > 127.5f * scale[r]) scale[r] = f16_to_f32(static_cast<uint16_t>(f32_to_f16(scale[r]) + 1));
  }
  q8_codes(values, scale, codes);
  hand_out(codes, scale, minimum, groups);
}

void quantize_q4(const TileGroup& values, Group* groups) {
  // A step a little smaller or larger than (high - low) / 15 trades clipping at the ends for finer steps between.
  constexpr float kSteps[] = {15.0f, 14.3f, 13.6f, 15.7f};
  Lanes low, high;
  uint8_t codes[32][16];
  find_range(values, low, high);
  Q4Fit best;
  for (int r = 0; r < 16; ++r) {
    best.scale[r] = (high[r] - low[r]) / 15.0f;
    best.minimum[r] = low[r];
  }
  round_and_rate(values, best);
  for (const float steps : kSteps) {
    Lanes start, inverse_step;
    for (int r = 0; r < 16; ++r) {
      // fewer than 15 steps leave codes unused at both ends, more cut the ends off
      const float step = (high[r] - low[r]) / steps;
      start[r] = 0.5f * (low[r] + high[r]) - 7.5f * step;
      inverse_step[r] = inverse(step);
    }
    Q4Fit fit;
    fit_line(values, start, inverse_step, fit.scale, fit.minimum);
    round_and_rate(values, fit);
    for (int r = 0; r < 16; ++r) {
      if (!(fit.error[r] < best.error[r])) continue;
      best.scale[r] = fit.scale[r];
      best.minimum[r] = fit.minimum[r];
      best.error[r] = fit.error[r];
    }
  }
  q4_codes(values, best, codes);
  hand_out(codes, best.scale, best.minimum, groups);
}

}  // namespace inglenook
