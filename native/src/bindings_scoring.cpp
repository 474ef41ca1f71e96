#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <new>
#include <stdexcept>
#include <vector>

#include "bindings.h"
#include "scoring.h"
#include "thread_pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

using Logits = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

struct RowScorer final : StageRunner {
  void run_chunk(int, int i, int) noexcept override {
    try {
      results[i] = score_row(logits + rows[i] * vocab_size, vocab_size, tokens[i], num_top[i]);
    } catch (const std::bad_alloc&) {
      results[i] = {};
    }
  }

  const float* logits;
  int64_t vocab_size;
  const int64_t* rows;
  const int32_t* tokens;
  const int32_t* num_top;
  Scored* results;
};

// For each of `rows` of the logits: (log-probability of its token, rank, top), or None where it is unsound.
nb::list score(const Logits& logits, const std::vector<int64_t>& rows, const std::vector<int32_t>& tokens,
               const std::vector<int32_t>& num_top, ThreadPool* pool) {
  if (tokens.size() != rows.size() || num_top.size() != rows.size()) {
    throw std::invalid_argument("there must be one token and one number for each row");
  }
  const auto vocab_size = static_cast<int64_t>(logits.shape(1));
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool is_inside = rows[i] >= 0 && rows[i] < static_cast<int64_t>(logits.shape(0)) && tokens[i] >= 0 &&
                           tokens[i] < vocab_size;
    if (!is_inside) throw std::invalid_argument("a row or a token lies outside of the logits");
  }
  std::vector<Scored> results(rows.size());
  RowScorer scorer;
  scorer.logits = logits.data();
  scorer.vocab_size = vocab_size;
  scorer.rows = rows.data();
  scorer.tokens = tokens.data();
  scorer.num_top = num_top.data();
  scorer.results = results.data();
  const auto num_rows = static_cast<int32_t>(rows.size());
  {
    const nb::gil_scoped_release release;
    if (pool != nullptr && num_rows > 1) {
      pool->run(scorer, &num_rows, 1);
    } else {
      for (int32_t i = 0; i < num_rows; ++i) scorer.run_chunk(0, i, 0);
    }
  }
  nb::list entries;
  for (const Scored& scored : results) {
    if (scored.rank == 0) {
      entries.append(nb::none());
      continue;
    }
    nb::list top;
    for (const Candidate& candidate : scored.top) top.append(nb::make_tuple(candidate.id, candidate.value));
    entries.append(nb::make_tuple(scored.logprob, scored.rank, nb::tuple(top)));
  }
  return entries;
}

}  // namespace

void bind_scoring(nb::module_& m) {
  m.def("score", &score, "logits"_a, "rows"_a, "tokens"_a, "num_top"_a, "pool"_a.none());
}

}  // namespace inglenook
