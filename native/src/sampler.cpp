#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>

#include "logprobs.h"
#include "philox.h"
#include "weight_limits.h"

namespace inglenook {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreedyTemperature = 1e-5f;  // below, only the best token has any weight

// Memory of one thread, reused from row to row.
struct Scratch {
  std::vector<float> logits;
  std::vector<float> raw_maxima, maxima;  // of the logits' blocks: as they came, and changed
  std::vector<uint32_t> mask;
  Weights weights;
};

// The token that holds `uniform` when [0, 1) is shared out by weight, in the order of the ids.
int32_t pick(const std::vector<float>& weights, int64_t count, double uniform, const std::vector<double>& sums) {
  double target = uniform * total_of(sums);
  size_t block = 0;
  while (block + 1 < sums.size() && target >= sums[block]) target -= sums[block++];
  // Rounding may leave the last block reached without a weight: the last token that has one holds the end of [0, 1).
  for (; sums[block] == 0.0; --block) target = kInfinity;
  int64_t chosen = -1;
  const int64_t begin = static_cast<int64_t>(block) * kSumBlock;
  for (int64_t i = begin; i < std::min(begin + kSumBlock, count); ++i) {
    if (!(weights[static_cast<size_t>(i)] > 0.0f)) continue;
    chosen = i;
    target -= static_cast<double>(weights[static_cast<size_t>(i)]);
    if (target < 0.0) break;
  }
  return static_cast<int32_t>(chosen);
}

int32_t draw(const float* logits, int64_t count, float largest, const std::vector<float>& maxima,
             const SamplerState& state, Scratch& scratch) {
  const SamplerParams& params = state.params();
  Weights& weights = scratch.weights;
  const float factor = 1.0f / params.temperature;
  weights.values.resize(static_cast<size_t>(count));
  exponentiate(logits, count, largest, factor, maxima, weights.values.data(), weights.sums);
  if (params.min_p > 0.0f) {
    // Every weight of at least min_p is better than a weight just below it.
    cut_weights(weights.values.data(), count, {std::nextafter(params.min_p, 0.0f), -1}, weights.sums);
  }
  limit_to_best(params.top_k, params.top_p, count, weights);
  if (params.typical_p < 1.0f) limit_to_typical(params.typical_p, logits, count, largest, factor, weights);
  const double uniform = philox_uniform(params.seed, static_cast<uint64_t>(state.num_output()));
  return pick(weights.values, count, uniform, weights.sums);
}

}  // namespace

SamplerState::SamplerState(SamplerParams params, const std::vector<int32_t>& prompt) : params_(std::move(params)) {
  for (const std::vector<int32_t>& tokens : params_.banned) tail_size_ = std::max(tail_size_, tokens.size() - 1);
  if (params_.repetition_penalty == 1.0f) return;
  for (const int32_t token : prompt) output_counts_.try_emplace(token, 0);
}

bool SamplerState::has_penalties() const {
  return params_.repetition_penalty != 1.0f || params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f;
}

bool SamplerState::changes_logits() const {
  return !params_.logit_bias.empty() || num_output_ < params_.min_tokens || !output_counts_.empty() ||
         !params_.allowed.empty() || !params_.banned.empty();
}

bool SamplerState::has_bans() const {
  return (num_output_ < params_.min_tokens && !params_.stop_token_ids.empty()) || !params_.banned.empty();
}

void SamplerState::ban(float* logits) const {
  if (num_output_ < params_.min_tokens) {
    for (const int32_t token : params_.stop_token_ids) logits[token] = -kInfinity;
  }
  for (const std::vector<int32_t>& tokens : params_.banned) {
    const auto num_before = static_cast<std::ptrdiff_t>(tokens.size()) - 1;
    if (num_before > static_cast<std::ptrdiff_t>(tail_.size())) continue;
    if (std::equal(tokens.begin(), tokens.begin() + num_before, tail_.end() - num_before)) {
      logits[tokens.back()] = -kInfinity;
    }
  }
}

void SamplerState::change_logits(float* logits, bool is_banning) const {
  for (const auto& [token, bias] : params_.logit_bias) logits[token] += bias;
  if (is_banning) ban(logits);
  for (const auto& [token, count] : output_counts_) {
    float& logit = logits[token];
    logit = logit > 0.0f ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
    if (count == 0) continue;
    logit -= params_.presence_penalty + params_.frequency_penalty * static_cast<float>(count);
  }
}

void SamplerState::advance(int32_t token) {
  ++num_output_;
  if (has_penalties()) ++output_counts_[token];
  if (tail_size_ == 0) return;
  if (tail_.size() == tail_size_) tail_.erase(tail_.begin());
  tail_.push_back(token);
}

namespace {

// Fills scratch.logits and scratch.maxima.
Largest change_row(const float* logits, int64_t vocab_size, const SamplerState& state, const uint32_t* mask,
                   bool is_banning, Scratch& scratch) {
  scratch.logits.resize(static_cast<size_t>(vocab_size));
  float* changed = scratch.logits.data();
  if (mask != nullptr) {
    copy_allowed(logits, vocab_size, mask, changed);
  } else {
    std::copy_n(logits, vocab_size, changed);
  }
  state.change_logits(changed, is_banning);
  return find_largest(changed, vocab_size, scratch.maxima);
}

// The same, giving up what leaves nothing to choose: bans first, then the tokens that the request allows. `mask` stays.
Largest change_row(const float* logits, int64_t vocab_size, const SamplerState& state, const uint32_t* mask,
                   Scratch& scratch) {
  const std::vector<uint32_t>& allowed = state.params().allowed;
  const uint32_t* narrow = mask;
  if (!allowed.empty()) {
    narrow = allowed.data();
    if (mask != nullptr) {
      scratch.mask.resize(allowed.size());
      std::transform(allowed.begin(), allowed.end(), mask, scratch.mask.begin(), std::bit_and<uint32_t>());
      narrow = scratch.mask.data();
    }
  }
  Largest largest = change_row(logits, vocab_size, state, narrow, true, scratch);
  if (!largest.is_sound && state.has_bans()) largest = change_row(logits, vocab_size, state, narrow, false, scratch);
  if (largest.is_sound || narrow == mask || mask == nullptr) return largest;
  largest = change_row(logits, vocab_size, state, mask, true, scratch);
  if (!largest.is_sound && state.has_bans()) largest = change_row(logits, vocab_size, state, mask, false, scratch);
  return largest;
}

}  // namespace

Sampled sample_row(const float* logits, int64_t vocab_size, const SamplerState& state, const uint32_t* mask) {
  thread_local Scratch scratch;
  const SamplerParams& params = state.params();
  Sampled sampled;
  const Largest raw = find_largest(logits, vocab_size, scratch.raw_maxima);
  if (!raw.is_sound) {
    sampled.error = "the logits hold NaN or infinity";
    return sampled;
  }
  const float* changed = logits;
  Largest largest = raw;
  const std::vector<float>* maxima = &scratch.raw_maxima;
  if (mask != nullptr || state.changes_logits()) {
    largest = change_row(logits, vocab_size, state, mask, scratch);
    if (!largest.is_sound) {
      sampled.error = "no token is allowed";
      return sampled;
    }
    changed = scratch.logits.data();
    maxima = &scratch.maxima;
  }
  sampled.token = params.temperature < kGreedyTemperature
                      ? largest.best.id
                      : draw(changed, vocab_size, largest.best.value, *maxima, state, scratch);
  if (params.num_logprobs >= 0) {
    Logprobs logprobs = log_probabilities(logits, vocab_size, raw.best.value, scratch.raw_maxima, sampled.token,
                                          params.num_logprobs, scratch.weights);
    sampled.logprob = logprobs.chosen;
    sampled.top = std::move(logprobs.top);
  }
  return sampled;
}

std::vector<Sampled> sample_run(const float* logits, int64_t num_rows, int64_t vocab_size, SamplerState& state,
                                const int32_t* drafts, const uint32_t* const* masks) {
  std::vector<Sampled> run;
  for (int64_t row = 0; row < num_rows; ++row) {
    Sampled sampled = sample_row(logits + row * vocab_size, vocab_size, state, masks[row]);
    const bool is_sound = sampled.error.empty();
    if (is_sound) state.advance(sampled.token);
    const bool is_drafted = is_sound && row + 1 < num_rows && sampled.token == drafts[row];
    if (is_sound || row == 0) run.push_back(std::move(sampled));
    if (!is_drafted) break;
  }
  return run;
}

}  // namespace inglenook
