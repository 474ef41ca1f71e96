// How likely given tokens are: what a prompt's log-probabilities are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "row_scan.h"

namespace inglenook {

struct Scored {
  float logprob = 0.0f;
  int32_t rank = 0;            // tokens that are at least as likely, itself among them; 0: the row is unsound
  std::vector<Candidate> top;  // log-probabilities, best first
};

Scored score_row(const float* logits, int64_t vocab_size, int32_t token, int32_t num_top);

}  // namespace inglenook
