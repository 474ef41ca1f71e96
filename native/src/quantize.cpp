#include "quantize.h"

#include <algorithm>
#include <cmath>

#include "clones.h"
#include "half.h"

// The loops over r, 16 rows beside one another, are what the compiler vectorises.
namespace inglenook {

namespace {

using Lanes = float[16];

constexpr float kRoundingShift = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer

float round_to_f16(float value) { return f16_to_f32(f32_to_f16(value)); }

struct Q4Fit {
  Lanes scale;
  Lanes minimum;
  Lanes error;
};

// Least squares line through (code, value), where the codes are those of a first guess.
INGLENOOK_CLONES
void fit_line(const TileGroup& values, const Lanes& low, const Lanes& inverse_step, Lanes& scale, Lanes& minimum) {
  Lanes sum_code = {}, sum_code2 = {}, sum_value = {}, sum_product = {};
  for (int i = 0; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      const float value = values[i][r];
      float code = (value - low[r]) * inverse_step[r];
      code = code < 0.0f ? 0.0f : code > 15.0f ? 15.0f : code;
      code = (code + kRoundingShift) - kRoundingShift;
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

INGLENOOK_CLONES
void squared_error(const TileGroup& values, const Lanes& inverse_scale, Q4Fit& fit) {
  Lanes error = {};
  for (int i = 0; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      float code = (values[i][r] - fit.minimum[r]) * inverse_scale[r];
      code = code < 0.0f ? 0.0f : code > 15.0f ? 15.0f : code;
      code = (code + kRoundingShift) - kRoundingShift;
      const float difference = values[i][r] - (fit.scale[r] * code + fit.minimum[r]);
      error[r] += difference * difference;
    }
  }
  for (int r = 0; r < 16; ++r) fit.error[r] = error[r];
}

float inverse(float value) { return value > 0.0f ? 1.0f / value : 0.0f; }

// Rounds to what is stored, so that the error counted is the error had.
void round_and_rate(const TileGroup& values, Q4Fit& fit) {
  Lanes inverse_scale;
  for (int r = 0; r < 16; ++r) {
    fit.scale[r] = round_to_f16(std::max(fit.scale[r], 0.0f));
    fit.minimum[r] = round_to_f16(fit.minimum[r]);
    inverse_scale[r] = inverse(fit.scale[r]);
  }
  squared_error(values, inverse_scale, fit);
}

}  // namespace

void quantize_q8(const TileGroup& values, Group* groups) {
  for (int r = 0; r < 16; ++r) {
    float largest = 0.0f;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i][r]));
    // Small scales are coarse in 16 bits; one that has been rounded down too far would cut the largest weight off.
    uint16_t half = f32_to_f16(largest / 127.0f);
    if (largest > 127.5f * f16_to_f32(half)) ++half;
    const float scale = f16_to_f32(half);
    groups[r].scale = scale;
    groups[r].minimum = 0.0f;
    const float factor = inverse(scale);
    for (int i = 0; i < 32; ++i) {
      const float code = std::clamp(values[i][r] * factor, -127.0f, 127.0f);
      groups[r].codes[i] = static_cast<uint8_t>(std::lrintf(code) + 128);
    }
  }
}

void quantize_q4(const TileGroup& values, Group* groups) {
  // A step a little smaller or larger than (high - low) / 15 trades clipping at the ends for finer steps between.
  constexpr float kSteps[] = {15.0f, 14.3f, 13.6f, 15.7f};
  Lanes low, high;
  for (int r = 0; r < 16; ++r) low[r] = high[r] = values[0][r];
  for (int i = 1; i < 32; ++i) {
    for (int r = 0; r < 16; ++r) {
      low[r] = std::min(low[r], values[i][r]);
      high[r] = std::max(high[r], values[i][r]);
    }
  }
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
  for (int r = 0; r < 16; ++r) {
    groups[r].scale = best.scale[r];
    groups[r].minimum = best.minimum[r];
    const float factor = inverse(best.scale[r]);
    for (int i = 0; i < 32; ++i) {
      const float code = std::clamp((values[i][r] - best.minimum[r]) * factor, 0.0f, 15.0f);
      groups[r].codes[i] = static_cast<uint8_t>((code + kRoundingShift) - kRoundingShift);
    }
  }
}

}  // namespace inglenook
