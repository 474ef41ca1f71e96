#include "sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "philox.h"

namespace inglenook {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreedyTemperature = 1e-5f;  // below, only the best token has any weight
constexpr float kLowestLogprob = -9999.0f;   // stands for minus infinity, which JSON can't say

// Memory of one thread, reused from row to row.
struct Scratch {
  std::vector<float> logits;
  std::vector<float> raw_maxima, maxima;  // of the logits' blocks: as they came, and changed
  std::vector<float> weights;
  std::vector<double> sums;
  std::vector<double> buckets;
  std::vector<Candidate> candidates;
};

double total_of(const std::vector<double>& sums) {
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

// The last of the fewest best candidates whose weights add up to at least `target`. O(candidates): halves, by
// nth_element, whichever side holds it.
Candidate last_of_nucleus(std::span<Candidate> candidates, double target) {
  auto low = candidates.begin();
  auto high = candidates.end();
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, is_better);
    double upper = 0.0;
    for (auto it = low; it != middle; ++it) upper += static_cast<double>(it->value);
    if (upper >= target) {
      high = middle;
    } else {
      target -= upper;
      low = middle;
    }
  }
  return *low;
}

// The same for many: sums them in buckets of neighbouring weights (the upper bits of a positive float rise with it),
// so that only the bucket in which the target is reached needs an order.
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
  return last_of_nucleus({candidates.begin(), end}, target);
}

// Takes out the weights that top_k and top_p leave out. The best token's weight is 1.
void limit_weights(const SamplerParams& params, int64_t count, Scratch& scratch) {
  constexpr size_t kMany = 512;
  float* weights = scratch.weights.data();
  std::vector<Candidate>& candidates = scratch.candidates;
  const bool has_top_k = params.top_k > 0 && params.top_k < count;
  const bool has_top_p = params.top_p < 1.0f;
  if (!has_top_k && !has_top_p) return;
  double total = 0.0;
  if (has_top_k) {
    find_best(weights, count, params.top_k, 0.0f, candidates, scratch.sums.data());
    for (const Candidate& candidate : candidates) total += static_cast<double>(candidate.value);
  } else {
    // Weights below (1 - top_p) * total / count add up to less than 1 - top_p: all of them are left out.
    total = total_of(scratch.sums);
    const double floor = 0.999 * (1.0 - static_cast<double>(params.top_p)) * total / static_cast<double>(count);
    find_best(weights, count, count, static_cast<float>(floor), candidates, scratch.sums.data());
  }
  const double target = static_cast<double>(params.top_p) * total;
  const Candidate last = !has_top_p                    ? *std::max_element(candidates.begin(), candidates.end(), is_better)
                         : candidates.size() < kMany ? last_of_nucleus(candidates, target)
                                                       : last_of_large_nucleus(candidates, target, scratch.buckets);
  cut_weights(weights, count, last, scratch.sums);
}

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
  scratch.weights.resize(static_cast<size_t>(count));
  exponentiate(logits, count, largest, 1.0f / params.temperature, maxima, scratch.weights.data(), scratch.sums);
  if (params.min_p > 0.0f) {
    // Every weight of at least min_p is better than a weight just below it.
    cut_weights(scratch.weights.data(), count, {std::nextafter(params.min_p, 0.0f), -1}, scratch.sums);
  }
  limit_weights(params, count, scratch);
  const double uniform = philox_uniform(params.seed, static_cast<uint64_t>(state.num_output()));
  return pick(scratch.weights, count, uniform, scratch.sums);
}

// Log-probabilities of the model's own distribution: of the chosen token and of the best ones.
void add_logprobs(const float* logits, int64_t count, float largest, int32_t num_best, Sampled& sampled,
                  Scratch& scratch) {
  scratch.weights.resize(static_cast<size_t>(count));
  exponentiate(logits, count, largest, 1.0f, scratch.raw_maxima, scratch.weights.data(), scratch.sums);
  const double log_total = std::log(total_of(scratch.sums)) + static_cast<double>(largest);
  const auto logprob = [&](float logit) {
    const float value = static_cast<float>(static_cast<double>(logit) - log_total);
    return value > kLowestLogprob ? value : kLowestLogprob;
  };
  sampled.logprob = logprob(logits[sampled.token]);
  find_best(logits, count, num_best, -kInfinity, sampled.top);
  std::sort(sampled.top.begin(), sampled.top.end(), is_better);
  for (Candidate& candidate : sampled.top) candidate.value = logprob(candidate.value);
}

}  // namespace

SamplerState::SamplerState(SamplerParams params, const std::vector<int32_t>& prompt) : params_(std::move(params)) {
  if (params_.repetition_penalty == 1.0f) return;
  for (const int32_t token : prompt) output_counts_.try_emplace(token, 0);
}

bool SamplerState::has_penalties() const {
  return params_.repetition_penalty != 1.0f || params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f;
}

bool SamplerState::changes_logits() const {
  return !params_.logit_bias.empty() || num_output_ < params_.min_tokens || !output_counts_.empty();
}

void SamplerState::change_logits(float* logits, bool is_banning) const {
  for (const auto& [token, bias] : params_.logit_bias) logits[token] += bias;
  if (is_banning && num_output_ < params_.min_tokens) {
    for (const int32_t token : params_.stop_token_ids) logits[token] = -kInfinity;
  }
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
    largest = change_row(logits, vocab_size, state, mask, true, scratch);
    if (!largest.is_sound && mask != nullptr && state.has_bans()) {
      largest = change_row(logits, vocab_size, state, mask, false, scratch);
    }
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
    add_logprobs(logits, vocab_size, raw.best.value, params.num_logprobs, sampled, scratch);
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
