#include "scoring.h"

#include <utility>

#include "clones.h"
#include "logprobs.h"
#include "weight_limits.h"

namespace inglenook {

namespace {

INGLENOOK_CLONES
int32_t count_at_least(const float* x, int64_t count, float value) {
  int32_t num = 0;
  for (int64_t i = 0; i < count; ++i) num += x[i] >= value ? 1 : 0;
  return num;
}

}  // namespace

Scored score_row(const float* logits, int64_t vocab_size, int32_t token, int32_t num_top) {
  thread_local std::vector<float> maxima;
  thread_local Weights scratch;
  const Largest largest = find_largest(logits, vocab_size, maxima);
  Scored scored;
  if (!largest.is_sound) return scored;
  Logprobs logprobs = log_probabilities(logits, vocab_size, largest.best.value, maxima, token, num_top, scratch);
  scored.logprob = logprobs.chosen;
  scored.rank = count_at_least(logits, vocab_size, logits[token]);
  scored.top = std::move(logprobs.top);
  return scored;
}

}  // namespace inglenook
