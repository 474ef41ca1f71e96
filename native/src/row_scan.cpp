#include "row_scan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "clones.h"

namespace inglenook {

namespace {

constexpr int kLanes = 16;
constexpr float kLeastExponent = -40.0f;  // e^-40 is 4e-18: a million tokens of that weight are never drawn

// Integers in the order of the floats: comparing them needs no care for NaN, and vectorises.
inline int32_t ordered(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value + 0.0f);  // -0 becomes +0
  return bits ^ (bits >> 31 & 0x7fffffff);
}

inline float value_of(int32_t key) { return std::bit_cast<float>(key ^ (key >> 31 & 0x7fffffff)); }

// The largest ordered() of the row, and the block that holds it first.
struct BlockScan {
  int32_t best;
  int64_t block;
  bool has_nan;
};

INGLENOOK_CLONES
BlockScan scan_blocks(const float* x, int64_t count, std::vector<float>& maxima) {
  BlockScan scan{std::numeric_limits<int32_t>::min(), 0, false};
  maxima.clear();
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, count);
    int32_t best = std::numeric_limits<int32_t>::min();
    uint32_t magnitude = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int32_t key = ordered(x[i]);
      best = key > best ? key : best;
      const uint32_t size = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      magnitude = size > magnitude ? size : magnitude;
    }
    if (magnitude > 0x7f800000u) scan.has_nan = true;
    maxima.push_back(value_of(best));
    if (best > scan.best) {
      scan.best = best;
      scan.block = begin;
    }
  }
  return scan;
}

INGLENOOK_CLONES
bool has_above(const float* x, int64_t count, float threshold) {
  int any = 0;
  for (int64_t i = 0; i < count; ++i) any |= x[i] > threshold;
  return any != 0;
}

void keep_best(std::vector<Candidate>& candidates, int64_t k) {
  std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(), is_better);
  candidates.resize(static_cast<size_t>(k));
}

// Without a branch on the values, which nothing could foresee.
void append_above(const float* x, int64_t begin, int64_t end, float threshold, std::vector<Candidate>& candidates) {
  size_t size = candidates.size();
  candidates.resize(size + static_cast<size_t>(end - begin));
  for (int64_t i = begin; i < end; ++i) {
    candidates[size] = {x[i], static_cast<int32_t>(i)};
    size += x[i] > threshold;
  }
  candidates.resize(size);
}

// In an order that depends on nothing but the position.
inline double sum_block(const float* weights, int64_t count) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += weights[i + lane];
  }
  double sum = 0.0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  for (; i < count; ++i) sum += static_cast<double>(weights[i]);
  return sum;
}

// exp(v) for v <= 0: 2^n * polynomial(r), v = n ln 2 + r, |r| <= ln 2 / 2 (coefficients of the Taylor series to r^7).
inline float exp_of_negative(float v) {
  const float limited = v > -87.0f ? v : -87.0f;
  const float shifted = limited * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (limited - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power = std::bit_cast<float>((std::bit_cast<int32_t>(shifted) - 0x4b400000 + 127) << 23);
  return v > -87.0f ? p * power : 0.0f;
}

}  // namespace

Largest find_largest(const float* x, int64_t count, std::vector<float>& maxima) {
  const BlockScan scan = scan_blocks(x, count, maxima);
  Largest result{{-std::numeric_limits<float>::infinity(), 0}, !scan.has_nan};
  for (int64_t i = scan.block; i < count; ++i) {
    if (ordered(x[i]) != scan.best) continue;
    result.best = {x[i], static_cast<int32_t>(i)};
    break;
  }
  if (!std::isfinite(result.best.value)) result.is_sound = false;
  return result;
}

INGLENOOK_CLONES
void copy_allowed(const float* x, int64_t count, const uint32_t* mask, float* out) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto copy = [&](int64_t begin, int64_t size) {
    const uint32_t word = mask[begin / 32];
    for (int64_t i = 0; i < size; ++i) out[begin + i] = (word >> i & 1u) != 0 ? x[begin + i] : -kInfinity;
  };
  for (int64_t begin = 0; begin + 32 <= count; begin += 32) copy(begin, 32);
  copy(count & ~int64_t{31}, count & 31);
}

void find_best(const float* x, int64_t count, int64_t k, float floor, std::vector<Candidate>& best, const double* sums) {
  constexpr int64_t kChunk = 64;
  static_assert(kSumBlock % kChunk == 0);
  best.clear();
  if (k <= 0) return;
  const int64_t capacity = std::max<int64_t>(2 * std::min(k, count), 256);
  float threshold = floor;  // ids ascend, so that a later value equal to the k-th best is never better
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    if (sums != nullptr && begin % kSumBlock == 0 && !(sums[begin / kSumBlock] > static_cast<double>(threshold))) {
      begin += kSumBlock - kChunk;
      continue;
    }
    const int64_t end = std::min(begin + kChunk, count);
    if (!has_above(x + begin, end - begin, threshold)) continue;
    append_above(x, begin, end, threshold, best);
    if (static_cast<int64_t>(best.size()) >= capacity && static_cast<int64_t>(best.size()) > k) {
      keep_best(best, k);
      threshold = std::max(threshold, best.back().value);
    }
  }
  if (static_cast<int64_t>(best.size()) > k) keep_best(best, k);
}

INGLENOOK_CLONES
void exponentiate(const float* x, int64_t count, float shift, float factor, const std::vector<float>& maxima,
                  float* weights, std::vector<double>& sums) {
  sums.clear();
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    if ((maxima[static_cast<size_t>(begin / kSumBlock)] - shift) * factor < kLeastExponent) {
      sums.push_back(0.0);
      continue;
    }
    const int64_t end = std::min(begin + kSumBlock, count);
    for (int64_t i = begin; i < end; ++i) weights[i] = exp_of_negative((x[i] - shift) * factor);
    sums.push_back(sum_block(weights + begin, end - begin));
  }
}

INGLENOOK_CLONES
void sum_weights(const float* weights, int64_t count, std::vector<double>& sums) {
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    double& sum = sums[static_cast<size_t>(begin / kSumBlock)];
    if (sum != 0.0) sum = sum_block(weights + begin, std::min(begin + kSumBlock, count) - begin);
  }
}

INGLENOOK_CLONES
void cut_weights(float* weights, int64_t count, const Candidate& last, std::vector<double>& sums) {
  const float value = last.value;
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    double& sum = sums[static_cast<size_t>(begin / kSumBlock)];
    if (sum == 0.0) continue;
    if (sum < static_cast<double>(value)) {  // and so is each of its weights
      sum = 0.0;
      continue;
    }
    const int32_t end = static_cast<int32_t>(std::min(begin + kSumBlock, count));
    for (int32_t i = static_cast<int32_t>(begin); i < end; ++i) {
      const bool is_kept = (weights[i] > value) | ((weights[i] == value) & (i <= last.id));
      weights[i] = is_kept ? weights[i] : 0.0f;
    }
    sum = sum_block(weights + begin, end - begin);
  }
}

}  // namespace inglenook
