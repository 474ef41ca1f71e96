// Values weighed with probabilities, over the blocks of a span. Included after attention_softmax.inl.

namespace inglenook {
namespace {

// values[r, d] = values[r, d] * correction[r] + sum over `keys` of probability[r, j] * v[j, d], of 16 * kVecs columns
template <int kRows, int kVecs, class Element, class Stored>
inline void weigh_rows(const AttentionArgs& args, const AttendState<Element>& s, int64_t row, int64_t r0, int64_t column,
                       KeyRange keys, const SpanBlocks<Stored>& blocks) {
  Vec sums[kRows][kVecs];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = load(s.values + (row + r0 + r) * s.width + column + 16 * v) * splat(s.correction[r0 + r]);
  constexpr int64_t kStride = kSpanKeys / kInputs<Element>;
  const Element* probabilities = s.probabilities + r0 * kStride;
  const int64_t block_steps = args.block_size / kInputs<Element>;
  const int64_t end = (keys.end + kInputs<Element> - 1) / kInputs<Element>;
  for (int64_t step = keys.begin / kInputs<Element>; step < end;) {
    const int64_t block = step / block_steps;
    const int64_t block_end = (block + 1) * block_steps < end ? (block + 1) * block_steps : end;
    int64_t at = (step - block * block_steps) * s.width + column;
    for (; step < block_end; ++step, at += s.width) {
      for (int v = 0; v < kVecs; ++v) fetch_ahead<kRows>(blocks.next_values[block] + at + 16 * v);
      each_part<Element>([&](auto part) {
        decltype(load_operand<part()>(blocks.values[0])) value[kVecs];
        for (int v = 0; v < kVecs; ++v) value[v] = load_operand<part()>(blocks.values[block] + at + 16 * v);
        for (int r = 0; r < kRows; ++r) {
          const auto p = splat_operand<part()>(probabilities + r * kStride + step);
          for (int v = 0; v < kVecs; ++v) sums[r][v] = multiply_add<Element>(sums[r][v], p, value[v]);
        }
      });
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) store(s.values + (row + r0 + r) * s.width + column + 16 * v, sums[r][v]);
}

template <class Element, class Stored, int kRows = kValueRows>
inline void weigh_up_to(int64_t num_rows, const AttentionArgs& args, const AttendState<Element>& s, int64_t row,
                        int64_t r0, KeyRange keys, const SpanBlocks<Stored>& blocks) {
  if constexpr (kRows > 0) {
    if (num_rows != kRows) return weigh_up_to<Element, Stored, kRows - 1>(num_rows, args, s, row, r0, keys, blocks);
    int64_t column = 0;
    for (; column + 16 * kValueVecs <= s.width; column += 16 * kValueVecs)
      weigh_rows<kRows, kValueVecs>(args, s, row, r0, column, keys, blocks);
    for (; column < s.width; column += 16) weigh_rows<kRows, 1>(args, s, row, r0, column, keys, blocks);
  }
}

template <class Element, class Stored>
void weigh_span(const AttentionArgs& args, const AttendState<Element>& s, int64_t row, int64_t num_rows, KeyRange keys,
                const SpanBlocks<Stored>& blocks) {
  for (int64_t r = 0; r < num_rows; r += kValueRows)
    weigh_up_to(num_rows - r < kValueRows ? num_rows - r : kValueRows, args, s, row, r, keys, blocks);
}

}  // namespace
}  // namespace inglenook
