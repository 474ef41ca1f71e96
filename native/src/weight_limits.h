// Limits which tokens a draw may choose, by taking out the weights of the others.
#pragma once

#include <cstdint>
#include <vector>

#include "row_scan.h"

namespace inglenook {

// The weights of a row's tokens, as `exponentiate` makes them: the best token's is 1. The rest is working memory.
struct Weights {
  std::vector<float> values;
  std::vector<double> sums;
  std::vector<Candidate> candidates;
  std::vector<double> buckets;
};

double total_of(const std::vector<double>& sums);

// Leaves the best `top_k` (0: all), and of these the fewest best that make up `top_p` of their sum.
void limit_to_best(int32_t top_k, float top_p, int64_t count, Weights& weights);

// Leaves the fewest tokens that make up `typical_p` of the sum, those first whose surprise is nearest to the entropy
// (Meister et al. 2022, arXiv:2202.00666). `logits`, `largest` and `factor` are what the weights were made of.
void limit_to_typical(float typical_p, const float* logits, int64_t count, float largest, float factor,
                      Weights& weights);

}  // namespace inglenook
