#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "philox.h"
#include "sampler.h"
#include "thread_pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

using Logits = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Mask = nb::ndarray<const uint32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Below this many logits a second thread may take longer to wake than it saves.
constexpr int64_t kLogitsForThreads = 150'000;

struct RowSampler final : StageRunner {
  void run_chunk(int, int row, int) noexcept override {
    try {
      results[row] = sample_row(logits + row * vocab_size, vocab_size, *states[row], masks[row]);
    } catch (const std::bad_alloc&) {
      results[row].error = "there is no memory left";
    }
  }

  const float* logits;
  int64_t vocab_size;
  SamplerState* const* states;
  const uint32_t* const* masks;
  Sampled* results;
};

// The mask of each row of logits, null where any token is allowed: the row of `mask` that `mask_rows` names, -1 for none.
std::vector<const uint32_t*> masks_of(const Logits& logits, size_t num_rows, const std::optional<Mask>& mask,
                                      const std::vector<int32_t>& mask_rows) {
  if (logits.shape(0) != num_rows) throw std::invalid_argument("there must be one state for each row of logits");
  std::vector<const uint32_t*> masks(num_rows, nullptr);
  if (!mask) return masks;
  if (mask_rows.size() != num_rows || mask->shape(1) != (logits.shape(1) + 31) / 32) {
    throw std::invalid_argument("the mask must be [rows, ceil(vocabulary / 32)]");
  }
  for (size_t row = 0; row < num_rows; ++row) {
    if (mask_rows[row] < 0) continue;
    if (static_cast<size_t>(mask_rows[row]) >= mask->shape(0)) throw std::invalid_argument("the mask lacks a row");
    masks[row] = mask->data() + static_cast<size_t>(mask_rows[row]) * mask->shape(1);
  }
  return masks;
}

nb::tuple to_tuple(const std::vector<Candidate>& top) {
  nb::list entries;
  for (const Candidate& candidate : top) entries.append(nb::make_tuple(candidate.id, candidate.value));
  return nb::tuple(entries);
}

// (token ids, log-probabilities or None, top). Where a row can't be sampled, ValueError, and no state has advanced.
nb::tuple sample(const Logits& logits, const std::vector<SamplerState*>& states, const std::optional<Mask>& mask,
                 const std::vector<int32_t>& mask_rows, ThreadPool* pool) {
  const std::vector<const uint32_t*> masks = masks_of(logits, states.size(), mask, mask_rows);
  const int32_t num_rows = static_cast<int32_t>(states.size());
  std::vector<Sampled> results(states.size());
  RowSampler sampler;
  sampler.logits = logits.data();
  sampler.vocab_size = static_cast<int64_t>(logits.shape(1));
  sampler.states = states.data();
  sampler.masks = masks.data();
  sampler.results = results.data();
  {
    const nb::gil_scoped_release release;
    if (pool != nullptr && num_rows * sampler.vocab_size >= kLogitsForThreads) {
      pool->run(sampler, &num_rows, 1);
    } else {
      for (int32_t row = 0; row < num_rows; ++row) sampler.run_chunk(0, row, 0);
    }
  }
  for (const Sampled& result : results) {
    if (!result.error.empty()) throw std::invalid_argument(result.error);
  }
  nb::list tokens, logprobs, tops;
  for (size_t row = 0; row < results.size(); ++row) {
    states[row]->advance(results[row].token);
    tokens.append(results[row].token);
    const bool wants_logprobs = states[row]->params().num_logprobs >= 0;
    logprobs.append(wants_logprobs ? nb::object(nb::float_(results[row].logprob)) : nb::none());
    tops.append(to_tuple(results[row].top));
  }
  return nb::make_tuple(tokens, logprobs, tops);
}

struct RunSampler final : StageRunner {
  void run_chunk(int, int run, int) noexcept override {
    const int64_t first = first_rows[run];
    try {
      results[run] = sample_run(logits + first * vocab_size, static_cast<int64_t>(drafts[run].size()) + 1, vocab_size,
                                *states[run], drafts[run].data(), masks + first);
    } catch (const std::bad_alloc&) {
      results[run].clear();
    }
  }

  const float* logits;
  int64_t vocab_size;
  SamplerState* const* states;
  const std::vector<int32_t>* drafts;
  const int64_t* first_rows;
  const uint32_t* const* masks;
  std::vector<Sampled>* results;
};

nb::object to_python(const std::vector<Sampled>& run, bool wants_logprobs) {
  if (run.empty()) return nb::str("there is no memory left");
  if (!run.front().error.empty()) return nb::str(run.front().error.c_str());
  nb::list entries;
  for (const Sampled& sampled : run) {
    const nb::object logprob = wants_logprobs ? nb::object(nb::float_(sampled.logprob)) : nb::none();
    entries.append(nb::make_tuple(sampled.token, logprob, to_tuple(sampled.top)));
  }
  return entries;
}

// For each sequence, which has 1 + (its drafts) rows: [(token id, log-probability or None, top)], or what went wrong.
nb::list sample_runs(const Logits& logits, const std::vector<SamplerState*>& states,
                     const std::vector<std::vector<int32_t>>& drafts, const std::optional<Mask>& mask,
                     const std::vector<int32_t>& mask_rows, ThreadPool* pool) {
  if (states.size() != drafts.size()) throw std::invalid_argument("there must be one state for each run");
  std::vector<int64_t> first_rows;
  size_t num_rows = 0;
  for (const std::vector<int32_t>& draft : drafts) {
    first_rows.push_back(static_cast<int64_t>(num_rows));
    num_rows += draft.size() + 1;
  }
  const std::vector<const uint32_t*> masks = masks_of(logits, num_rows, mask, mask_rows);
  std::vector<std::vector<Sampled>> results(states.size());
  RunSampler sampler;
  sampler.logits = logits.data();
  sampler.vocab_size = static_cast<int64_t>(logits.shape(1));
  sampler.states = states.data();
  sampler.drafts = drafts.data();
  sampler.first_rows = first_rows.data();
  sampler.masks = masks.data();
  sampler.results = results.data();
  const int32_t num_runs = static_cast<int32_t>(states.size());
  {
    const nb::gil_scoped_release release;
    if (pool != nullptr && num_runs > 1) {
      pool->run(sampler, &num_runs, 1);
    } else {
      for (int32_t run = 0; run < num_runs; ++run) sampler.run_chunk(0, run, 0);
    }
  }
  nb::list entries;
  for (size_t i = 0; i < results.size(); ++i) {
    entries.append(to_python(results[i], states[i]->params().num_logprobs >= 0));
  }
  return entries;
}

}  // namespace

void bind_sampler(nb::module_& m) {
  nb::class_<ThreadPool>(m, "ThreadPool", "Threads that stay; used by one caller at a time.")
      .def(nb::init<int>(), "threads"_a)
      .def("close", &ThreadPool::close, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<SamplerState>(m, "SamplerState")
      .def(
          "__init__",
          [](SamplerState* self, float temperature, float top_p, int32_t top_k, float min_p, float typical_p,
             float repetition_penalty, float presence_penalty, float frequency_penalty, int64_t min_tokens,
             int32_t num_logprobs, std::vector<std::pair<int32_t, float>> logit_bias,
             std::vector<int32_t> stop_token_ids, std::vector<uint32_t> allowed,
             std::vector<std::vector<int32_t>> banned, uint64_t seed, const std::vector<int32_t>& prompt) {
            new (self) SamplerState({temperature, top_p, top_k, min_p, typical_p, repetition_penalty, presence_penalty,
                                     frequency_penalty, min_tokens, num_logprobs, std::move(logit_bias),
                                     std::move(stop_token_ids), std::move(allowed), std::move(banned), seed},
                                    prompt);
          },
          nb::kw_only(), "temperature"_a, "top_p"_a, "top_k"_a, "min_p"_a, "typical_p"_a, "repetition_penalty"_a,
          "presence_penalty"_a, "frequency_penalty"_a, "min_tokens"_a, "num_logprobs"_a, "logit_bias"_a,
          "stop_token_ids"_a, "allowed"_a, "banned"_a, "seed"_a, "prompt"_a)
      .def("advance", &SamplerState::advance, "token"_a)
      .def_prop_ro("num_output", &SamplerState::num_output);
  m.def("sample", &sample, "logits"_a, "states"_a, "mask"_a.none(), "mask_rows"_a, "pool"_a.none());
  m.def("sample_runs", &sample_runs, "logits"_a, "states"_a, "drafts"_a, "mask"_a.none(), "mask_rows"_a,
        "pool"_a.none());
  m.def("uniform", &philox_uniform, "seed"_a, "position"_a, "Number `position` of a request's random stream.");
}

}  // namespace inglenook
