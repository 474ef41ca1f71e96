// Log-probabilities of the model's own distribution.
#pragma once

#include <cstdint>
#include <vector>

#include "row_scan.h"
#include "weight_limits.h"

namespace inglenook {

struct Logprobs {
  float chosen = 0.0f;
  std::vector<Candidate> top;  // best first
};

// Those of `token` and of the `num_best` best. `largest` and `maxima` are those of find_largest.
Logprobs log_probabilities(const float* logits, int64_t count, float largest, const std::vector<float>& maxima,
                           int32_t token, int32_t num_best, Weights& scratch);

}  // namespace inglenook
