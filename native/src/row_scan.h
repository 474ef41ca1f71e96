// Passes over one row of logits or weights, written so that the compiler vectorises them for any processor.
#pragma once

#include <cstdint>
#include <vector>

namespace inglenook {

struct Candidate {
  float value;
  int32_t id;
};
// Larger values first; of equal ones the lowest id.
inline bool is_better(const Candidate& a, const Candidate& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The best of a row. `is_sound` is false where the row holds NaN or +infinity, or nothing but -infinity.
struct Largest {
  Candidate best;
  bool is_sound;
};
Largest find_largest(const float* x, int64_t count);

// The `k` best values above `floor`, in no order.
void find_best(const float* x, int64_t count, int64_t k, float floor, std::vector<Candidate>& best);

// weights[i] = exp((x[i] - shift) * factor), to about 1e-7 of itself, for exponents of at most 0.
void exponentiate(const float* x, int64_t count, float shift, float factor, float* weights);

// Zeroes the weights that are worse than `last`.
void cut_weights(float* weights, int64_t count, const Candidate& last);

// Sums of kSumBlock neighbours each, in an order that depends on nothing but the position.
constexpr int64_t kSumBlock = 1024;
void sum_blocks(const float* weights, int64_t count, std::vector<double>& sums);

}  // namespace inglenook
