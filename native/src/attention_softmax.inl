// From scores to probabilities relative to a row's running maximum. Included after attention_operands.inl.

namespace inglenook {
namespace {

struct KeyRange {  // keys of one span, counted from its first
  int64_t begin, end;
  bool is_empty() const { return begin >= end; }
};

// A row's maximum before it has seen a key: finite, so that differences of two of them are 0 and not NaN.
constexpr float kSeesNothing = -1e30f;

// Leaves in `scores` what e^score is 2^ of, minus infinity where the row doesn't see the key, and returns the largest.
// Lanes [lanes.begin, lanes.end) are computed, multiples of 16.
inline float mask_scores(const AttentionArgs& args, float* scores, const float* key_scales, KeyRange seen,
                         KeyRange lanes) {
  static constexpr float kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const bool is_changed = key_scales != nullptr || args.softcap > 0.0f;
  const Vec nothing = splat(-INFINITY), cap = splat(args.softcap * kLog2E);
  Vec largest = nothing;
  for (int64_t j = lanes.begin; j < lanes.end; j += 16) {
    Vec score = load(scores + j);
    if (key_scales != nullptr) score = score * load(key_scales + j);
    if (args.softcap > 0.0f) score = cap * tanh(score / cap);
    const bool is_partial = j < seen.begin || j + 16 > seen.end;
    if (is_partial) {
      const Vec lane = load(kLane) + splat(static_cast<float>(j));
      score = if_less(lane, splat(static_cast<float>(seen.begin)), nothing, score);
      score = if_less(lane, splat(static_cast<float>(seen.end)), score, nothing);
    }
    if (is_partial || is_changed) store(scores + j, score);
    largest = max(largest, score);
  }
  return max_lanes(largest);
}

inline void store_probability(float* p, Vec probability) { store(p, probability); }
inline void store_probability(Pair* p, Vec probability) { store_small_bf16(reinterpret_cast<uint16_t*>(p), probability); }

// probabilities = 2^(scores - maximum); returns their sums, lane by lane. With `value_scales` a probability is stored
// times the scale of its key's value.
template <class Element>
inline Vec exponentials(const float* scores, float maximum, const float* value_scales, KeyRange seen, KeyRange lanes,
                        Element* probabilities) {
  static constexpr float kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Vec sum = splat(0.0f);
  for (int64_t j = lanes.begin; j < lanes.end; j += 16) {
    Vec probability = exp2(load(scores + j) - splat(maximum));
    sum = sum + probability;
    if (value_scales != nullptr) {
      probability = probability * load(value_scales + j);
      if (j + 16 > seen.end) {  // a scale that was never written may be NaN
        const Vec lane = load(kLane) + splat(static_cast<float>(j));
        probability = if_less(lane, splat(static_cast<float>(seen.end)), probability, splat(0.0f));
      }
    }
    store_probability(probabilities + j / kInputs<Element>, probability);
  }
  return sum;
}

// The softmax of `num_rows` rows over one span: updates their maxima, sums and corrections.
// What is outside of a row's range gets probability 0; a row that sees nothing keeps what it has.
template <class Element>
inline void softmax_rows(const AttentionArgs& args, const AttendState<Element>& s, int64_t row, int64_t num_rows,
                         const KeyRange* seen, KeyRange lanes, bool has_scales) {
  const float* key_scales = has_scales ? s.key_scales : nullptr;
  const float* value_scales = has_scales ? s.value_scales : nullptr;
  float now[16];
  for (int64_t r = 0; r < num_rows; ++r) {
    const float before = s.maximum[row + r];
    const float largest = mask_scores(args, s.scores + r * kSpanKeys, key_scales, seen[r], lanes);
    now[r] = largest > before ? largest : before;
  }
  const int count = static_cast<int>(num_rows);
  const Vec maxima = load_first(now, count);
  store(s.correction, exp2(load_first(s.maximum + row, count) - maxima));
  store_first(s.maximum + row, maxima, count);
  for (int64_t r = 0; r < num_rows; ++r) {
    const Vec sum = exponentials(s.scores + r * kSpanKeys, now[r], value_scales, seen[r], lanes,
                                 s.probabilities + r * kSpanKeys / kInputs<Element>);
    float* total = s.sum + (row + r) * 16;
    store(total, fma(load(total), splat(s.correction[r]), sum));
  }
}

}  // namespace
}  // namespace inglenook
