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

// Rows are scanned and summed in blocks of this many neighbours.
constexpr int64_t kSumBlock = 1024;

// The best of a row. `is_sound` is false where the row holds NaN or +infinity, or nothing but -infinity. `maxima` gets
// the largest value of each block.
struct Largest {
  Candidate best;
  bool is_sound;
};
Largest find_largest(const float* x, int64_t count, std::vector<float>& maxima);

// out[i] = x[i] where bit i % 32 of mask[i / 32] is set, and -infinity elsewhere.
void copy_allowed(const float* x, int64_t count, const uint32_t* mask, float* out);

// The `k` best values above `floor`, in no order. With `sums`, of weights, blocks that can hold none are passed over.
void find_best(const float* x, int64_t count, int64_t k, float floor, std::vector<Candidate>& best,
               const double* sums = nullptr);

// weights[i] = exp((x[i] - shift) * factor), to about 1e-7 of itself, for exponents of at most 0; and the sum of each
// block, in an order that depends on nothing but the position. `maxima` are x's. A block in which no weight reaches
// e^-40 gets the sum 0: a block of that sum has no weight, whatever stands in it.
void exponentiate(const float* x, int64_t count, float shift, float factor, const std::vector<float>& maxima,
                  float* weights, std::vector<double>& sums);

// Sums the blocks again of which weights have been taken out.
void sum_weights(const float* weights, int64_t count, std::vector<double>& sums);

// Takes out the weights that are worse than `last`.
void cut_weights(float* weights, int64_t count, const Candidate& last, std::vector<double>& sums);

}  // namespace inglenook
