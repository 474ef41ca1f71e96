// Scores: queries times keys, a block of keys at a time. Included after attention_operands.inl.

namespace inglenook {
namespace {

constexpr float kLog2E = 1.44269504f;

// Queries of rows [0, num_rows), in the order in which `score_rows` reads them. Scaled here, once, instead of every score.
void pack_query(float* out, const float* q, int64_t head_dim, float factor) {
  for (int64_t d = 0; d < head_dim; ++d) out[d * kScoreRows] = q[d] * factor;
}

void pack_query(Pair* out, const float* q, int64_t head_dim, float factor) {
  for (int64_t d = 0; d < head_dim; d += 16) {
    const int count = static_cast<int>(head_dim - d < 16 ? head_dim - d : 16);
    uint16_t halves[16];
    store_bf16(halves, load_first(q + d, count) * splat(factor));
    for (int i = 0; i < count; i += 2)
      out[(d + i) / 2 * kScoreRows] = halves[i] | static_cast<Pair>(halves[i + 1]) << 16;
  }
}

// scores[r, j] = q[r] . k[j] of kRows rows and 16 * kVecs keys of one block
template <int kRows, int kVecs, class Element, class Stored>
inline void score_rows(const Element* queries, int64_t num_steps, const Stored* keys, const Stored* next_keys,
                       int64_t block_size, float* scores) {
  Vec sums[kRows][kVecs];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) sums[r][v] = splat(0.0f);
  for (int64_t step = 0; step < num_steps; ++step) {
    for (int v = 0; v < kVecs; ++v) fetch_ahead<kRows>(next_keys + step * block_size + 16 * v);
    each_part<Element>([&](auto part) {
      decltype(load_operand<part()>(keys)) k[kVecs];
      for (int v = 0; v < kVecs; ++v) k[v] = load_operand<part()>(keys + step * block_size + 16 * v);
      for (int r = 0; r < kRows; ++r) {
        const auto q = splat_operand<part()>(queries + step * kScoreRows + r);
        for (int v = 0; v < kVecs; ++v) sums[r][v] = multiply_add<Element>(sums[r][v], q, k[v]);
      }
    });
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) store(scores + r * kSpanKeys + 16 * v, sums[r][v]);
}

template <class Element, class Stored, int kRows = kScoreRows>
inline void score_block(int64_t num_rows, const Element* queries, int64_t num_steps, const Stored* keys,
                        const Stored* next_keys, int64_t block_size, float* scores) {
  if constexpr (kRows > 0) {
    if (num_rows != kRows)
      return score_block<Element, Stored, kRows - 1>(num_rows, queries, num_steps, keys, next_keys, block_size, scores);
    int64_t key = 0;
    for (; key + 16 * kScoreVecs <= block_size; key += 16 * kScoreVecs)
      score_rows<kRows, kScoreVecs>(queries, num_steps, keys + key, next_keys + key, block_size, scores + key);
    for (; key < block_size; key += 16)
      score_rows<kRows, 1>(queries, num_steps, keys + key, next_keys + key, block_size, scores + key);
  }
}

}  // namespace
}  // namespace inglenook
