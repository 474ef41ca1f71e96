#include "weight_limits.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

namespace inglenook {

namespace {

// The last of the fewest best candidates whose weights add up to at least `target`. O(candidates): halves, by
// nth_element, whichever side holds it.
template <typename WeightOf>
Candidate last_of_nucleus(std::span<Candidate> candidates, double target, const WeightOf& weight_of) {
  auto low = candidates.begin();
  auto high = candidates.end();
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, is_better);
    double upper = 0.0;
    for (auto it = low; it != middle; ++it) upper += static_cast<double>(weight_of(*it));
    if (upper >= target) {
      high = middle;
    } else {
      target -= upper;
      low = middle;
    }
  }
  return *low;
}

float own_value(const Candidate& candidate) { return candidate.value; }

// The same for many, whose values are their weights: sums them in buckets of neighbouring weights (the upper bits of a
// positive float rise with it), so that only the bucket in which the target is reached needs an order.
Candidate last_of_large_nucleus(std::vector<Candidate>& candidates, double target, std::vector<double>& buckets) {
  constexpr int kShift = 19;  // 16 buckets for each power of 2
  const auto bucket_of = [](const Candidate& c) { return std::bit_cast<uint32_t>(c.value) >> kShift; };
  buckets.assign((std::bit_cast<uint32_t>(1.0f) >> kShift) + 1, 0.0);
  for (const Candidate& candidate : candidates) buckets[bucket_of(candidate)] += static_cast<double>(candidate.value);
  size_t last = buckets.size();
  for (size_t bucket = buckets.size(); bucket-- > 0;) {
    if (buckets[bucket] == 0.0) continue;
    if (last < buckets.size()) target -= buckets[last];
    last = bucket;
    if (buckets[bucket] >= target) break;
  }
  const auto end = std::partition(candidates.begin(), candidates.end(),
                                  [&](const Candidate& candidate) { return bucket_of(candidate) == last; });
  return last_of_nucleus({candidates.begin(), end}, target, own_value);
}

}  // namespace

double total_of(const std::vector<double>& sums) {
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

void limit_to_best(int32_t top_k, float top_p, int64_t count, Weights& scratch) {
  constexpr size_t kMany = 512;
  float* weights = scratch.values.data();
  std::vector<Candidate>& candidates = scratch.candidates;
  const bool has_top_k = top_k > 0 && top_k < count;
  const bool has_top_p = top_p < 1.0f;
  if (!has_top_k && !has_top_p) return;
  double total = 0.0;
  if (has_top_k) {
    find_best(weights, count, top_k, 0.0f, candidates, scratch.sums.data());
    for (const Candidate& candidate : candidates) total += static_cast<double>(candidate.value);
  } else {
    // Weights below (1 - top_p) * total / count add up to less than 1 - top_p: all of them are left out.
    total = total_of(scratch.sums);
    const double floor = 0.999 * (1.0 - static_cast<double>(top_p)) * total / static_cast<double>(count);
    find_best(weights, count, count, static_cast<float>(floor), candidates, scratch.sums.data());
  }
  const double target = static_cast<double>(top_p) * total;
  const Candidate last = !has_top_p                    ? *std::max_element(candidates.begin(), candidates.end(), is_better)
                         : candidates.size() < kMany ? last_of_nucleus(candidates, target, own_value)
                                                       : last_of_large_nucleus(candidates, target, scratch.buckets);
  cut_weights(weights, count, last, scratch.sums);
}

void limit_to_typical(float typical_p, const float* logits, int64_t count, float largest, float factor,
                      Weights& scratch) {
  float* weights = scratch.values.data();
  // Surprise and entropy are distances from the same constant, so that the weights' logarithms serve for both.
  const auto log_weight = [&](int64_t i) { return (logits[i] - largest) * factor; };
  const auto for_each_weight = [&](const auto& visit) {
    for (size_t block = 0; block < scratch.sums.size(); ++block) {
      if (scratch.sums[block] == 0.0) continue;
      const int64_t begin = static_cast<int64_t>(block) * kSumBlock;
      for (int64_t i = begin; i < std::min(begin + kSumBlock, count); ++i) {
        if (weights[i] > 0.0f) visit(i);
      }
    }
  };
  const double total = total_of(scratch.sums);
  double mean = 0.0;
  for_each_weight([&](int64_t i) { mean += static_cast<double>(weights[i]) * static_cast<double>(log_weight(i)); });
  mean /= total;
  scratch.candidates.clear();
  for_each_weight([&](int64_t i) {
    const double distance = std::abs(static_cast<double>(log_weight(i)) - mean);
    scratch.candidates.push_back({static_cast<float>(-distance), static_cast<int32_t>(i)});
  });
  const auto weight_of = [&](const Candidate& candidate) { return weights[candidate.id]; };
  const Candidate last = last_of_nucleus(scratch.candidates, static_cast<double>(typical_p) * total, weight_of);
  for (const Candidate& candidate : scratch.candidates) {
    if (is_better(last, candidate)) weights[candidate.id] = 0.0f;
  }
  sum_weights(weights, count, scratch.sums);
}

}  // namespace inglenook
