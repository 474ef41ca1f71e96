#include "logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "weight_limits.h"

namespace inglenook {

namespace {

constexpr float kLowestLogprob = -9999.0f;  // stands for minus infinity, which JSON can't say

}  // namespace

Logprobs log_probabilities(const float* logits, int64_t count, float largest, const std::vector<float>& maxima,
                           int32_t token, int32_t num_best, Weights& scratch) {
  scratch.values.resize(static_cast<size_t>(count));
  exponentiate(logits, count, largest, 1.0f, maxima, scratch.values.data(), scratch.sums);
  const double log_total = std::log(total_of(scratch.sums)) + static_cast<double>(largest);
  const auto logprob = [&](float logit) {
    const float value = static_cast<float>(static_cast<double>(logit) - log_total);
    return value > kLowestLogprob ? value : kLowestLogprob;
  };
  Logprobs result;
  result.chosen = logprob(logits[token]);
  find_best(logits, count, num_best, -std::numeric_limits<float>::infinity(), result.top);
  std::sort(result.top.begin(), result.top.end(), is_better);
  for (Candidate& candidate : result.top) candidate.value = logprob(candidate.value);
  return result;
}

}  // namespace inglenook
