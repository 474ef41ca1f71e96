// Chooses the next token of each sequence. Field names and meanings are those of SamplingParams in types.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "row_scan.h"

namespace inglenook {

struct SamplerParams {
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;  // 0: off
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int64_t min_tokens = 0;
  int32_t num_logprobs = -1;  // -1: none, not even the chosen token's
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<int32_t> stop_token_ids;  // not chosen before min_tokens others are out
  std::vector<uint32_t> allowed;             // a bit for every token of the vocabulary; empty: all
  std::vector<std::vector<int32_t>> banned;  // of each, the last token isn't chosen behind the others; none is empty
  uint64_t seed = 0;
};

// What one sequence's next choice depends on, besides the logits.
class SamplerState {
 public:
  SamplerState(SamplerParams params, const std::vector<int32_t>& prompt);

  const SamplerParams& params() const { return params_; }
  int64_t num_output() const { return num_output_; }
  bool changes_logits() const;
  bool has_bans() const;
  // Bias, bans (unless they are left out) and penalties, in this order.
  void change_logits(float* logits, bool is_banning) const;
  void advance(int32_t token);

 private:
  bool has_penalties() const;
  void ban(float* logits) const;

  SamplerParams params_;
  int64_t num_output_ = 0;
  // Tokens seen so far, with how often they have been put out; kept only where a penalty asks.
  std::unordered_map<int32_t, int32_t> output_counts_;
  std::vector<int32_t> tail_;  // the last of the output, as far as params_.banned asks
  size_t tail_size_ = 0;
};

struct Sampled {
  int32_t token = -1;
  float logprob = 0.0f;
  std::vector<Candidate> top;  // log-probabilities, best first
  std::string error;           // empty: none
};

// Chooses for one row without changing the state. `mask` has a bit for every token that is allowed, or is null. It wins
// over the state's bans and `allowed`, and `allowed` over the bans: where nothing else is left, what they forbid is
// chosen.
Sampled sample_row(const float* logits, int64_t vocab_size, const SamplerState& state, const uint32_t* mask);

// Rows that follow one another: row i belongs behind the sequence's tokens and the first i of `drafts`, of which there
// is one less than rows. Chooses row by row, advancing the state, for as long as the choice is the drafted token; so
// what comes out is what sampling one token a step would give. At least one result; only the first can be an error,
// since a row behind it is one that the next step begins with. `masks` are those of the rows.
std::vector<Sampled> sample_run(const float* logits, int64_t num_rows, int64_t vocab_size, SamplerState& state,
                                const int32_t* drafts, const uint32_t* const* masks);

}  // namespace inglenook
