// Attention over the paged cache, after FlashAttention (Dao et al. 2022, arXiv:2205.14135): softmax is accumulated block
// by block with a running maximum. Included by each isa_*.cpp after its simd_*.h and vector_math.h.
//
// A row is one query head of one token. All rows of a piece pass over a block of keys and values while it is in the
// first-level cache, so that grouped heads read the cache once. What a row adds up, and in which order, follows from
// its position alone: inputs in order within a score, keys in order within a block, blocks within a partition of
// kPartitionKeys keys, partitions in order. A block that a row may not see leaves its sums untouched.

namespace inglenook {
namespace {

struct Piece {  // rows that are computed together: `num_heads` query heads of each token in [token_begin, token_end)
  int64_t token_begin, token_end, head_begin, num_heads;
  int64_t num_rows() const { return (token_end - token_begin) * num_heads; }
  int64_t token(int64_t row) const { return token_begin + row / num_heads; }
  int64_t head(int64_t row) const { return head_begin + row % num_heads; }
};

// The running sums of a piece's rows, and room for one block. Lies in one thread's scratch.
struct AttendState {
  int64_t width;          // head_dim, rounded up to 16
  float* maximum;         // [rows]
  float* sum;             // [rows, 16]: probabilities, summed lane by lane
  float* values;          // [rows, width]
  float* total_maximum;   // the same over the partitions before this one
  float* total_sum;
  float* total_values;
  float* correction;      // [rows] what earlier sums are multiplied with
  float* scores;          // [rows, block_size]
  float* key_block;       // [head_dim, block_size] and [block_size, head_dim]: a float16 block, widened
  float* value_block;
};

inline AttendState place_state(const AttentionArgs& args, float* scratch) {
  AttendState s;
  s.width = (args.head_dim + 15) / 16 * 16;
  const auto take = [&scratch](int64_t count) {
    float* p = scratch;
    scratch += count;
    return p;
  };
  s.sum = take(kAttendRows * 16);
  s.values = take(kAttendRows * s.width);
  s.total_values = take(kAttendRows * s.width);
  s.scores = take(kAttendRows * args.block_size);
  s.key_block = take(args.block_size * args.head_dim);
  s.value_block = take(args.block_size * args.head_dim + 16);
  s.maximum = take(kAttendRows);
  s.total_maximum = take(kAttendRows);
  s.total_sum = take(kAttendRows);
  s.correction = take(kAttendRows);
  return s;
}

struct KeyRange {  // keys of one block that a row sees, counted from the block's first
  int64_t begin, end;
};

inline KeyRange visible_keys(const AttentionArgs& args, int64_t position, int64_t block_start) {
  int64_t begin = args.sliding_window > 0 ? position - args.sliding_window + 1 - block_start : 0;
  int64_t end = position + 1 - block_start;
  if (begin < 0) begin = 0;
  if (end > args.block_size) end = args.block_size;
  return {begin, end};
}

// scores[r, j] = q[r] . k[j] of kRows rows and one block of 16 * kVecs keys
template <int kRows, int kVecs, class Element>
inline void score_rows(const float* const* q, const Element* keys, int64_t head_dim, float* scores) {
  Vec sums[kRows][kVecs];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) sums[r][v] = splat(0.0f);
  for (int64_t d = 0; d < head_dim; ++d) {
    Vec k[kVecs];
    for (int v = 0; v < kVecs; ++v) k[v] = load(keys + d * 16 * kVecs + 16 * v);
    for (int r = 0; r < kRows; ++r) {
      const Vec x = splat(q[r][d]);
      for (int v = 0; v < kVecs; ++v) sums[r][v] = fma(x, k[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) store(scores + (r * kVecs + v) * 16, sums[r][v]);
}

template <int kVecs, class Element, int kRows = kScoreRows>
inline void score_up_to(int64_t num_rows, const float* const* q, const Element* keys, int64_t head_dim, float* scores) {
  if constexpr (kRows > 0) {
    if (num_rows == kRows)
      score_rows<kRows, kVecs>(q, keys, head_dim, scores);
    else
      score_up_to<kVecs, Element, kRows - 1>(num_rows, q, keys, head_dim, scores);
  }
}

template <int kVecs, class Element>
void score_block(const AttentionArgs& args, const Piece& piece, const Element* keys, float* scores) {
  const float* q[kScoreRows];
  const int64_t num_rows = piece.num_rows();
  for (int64_t row = 0; row < num_rows; row += kScoreRows) {
    const int64_t count = num_rows - row < kScoreRows ? num_rows - row : kScoreRows;
    for (int64_t r = 0; r < count; ++r)
      q[r] = args.q + piece.token(row + r) * args.q_stride + piece.head(row + r) * args.head_dim;
    score_up_to<kVecs>(count, q, keys, args.head_dim, scores + row * 16 * kVecs);
  }
}

// Turns one row's scores into probabilities relative to the running maximum, and updates maximum, sum and correction.
inline void softmax_row(const AttentionArgs& args, const AttendState& s, int64_t row, KeyRange keys) {
  static constexpr float kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  float* scores = s.scores + row * args.block_size;
  if (keys.begin >= keys.end) {
    for (int64_t j = 0; j < args.block_size; j += 16) store(scores + j, splat(0.0f));
    s.correction[row] = 1.0f;
    return;
  }
  const bool is_partial = keys.begin > 0 || keys.end < args.block_size;
  const Vec nothing = splat(-INFINITY);
  Vec largest = nothing;
  for (int64_t j = 0; j < args.block_size; j += 16) {
    Vec score = load(scores + j) * splat(args.scale);
    if (args.softcap > 0.0f) score = splat(args.softcap) * tanh(score / splat(args.softcap));
    if (is_partial) {
      const Vec lane = load(kLane) + splat(static_cast<float>(j));
      score = if_less(lane, splat(static_cast<float>(keys.begin)), nothing, score);
      score = if_less(lane, splat(static_cast<float>(keys.end)), score, nothing);
    }
    largest = max(largest, score);
    store(scores + j, score);
  }
  const float block_maximum = max_lanes(largest), before = s.maximum[row];
  const float now = block_maximum > before ? block_maximum : before;
  Vec sum = splat(0.0f);
  for (int64_t j = 0; j < args.block_size; j += 16) {
    const Vec probability = exp(load(scores + j) - splat(now));
    store(scores + j, probability);
    sum = sum + probability;
  }
  float correction = 1.0f;
  if (now != before) {
    float lanes[16];
    store(lanes, exp(splat(before - now)));
    correction = lanes[0];
  }
  s.maximum[row] = now;
  s.correction[row] = correction;
  store(s.sum + row * 16, fma(load(s.sum + row * 16), splat(correction), sum));
}

// values[r, d] = values[r, d] * correction[r] + sum over keys of probability[r, j] * v[j, d], 16 * kVecs columns
template <int kRows, int kVecs, class Element>
inline void weigh_rows(const AttentionArgs& args, const AttendState& s, int64_t row, int64_t column, KeyRange keys,
                       const Element* block) {
  Vec sums[kRows][kVecs];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = load(s.values + (row + r) * s.width + column + 16 * v) * splat(s.correction[row + r]);
  const float* probabilities = s.scores + row * args.block_size;
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    Vec value[kVecs];
    for (int v = 0; v < kVecs; ++v) value[v] = load(block + j * args.head_dim + column + 16 * v);
    for (int r = 0; r < kRows; ++r) {
      const Vec p = splat(probabilities[r * args.block_size + j]);
      for (int v = 0; v < kVecs; ++v) sums[r][v] = fma(p, value[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) store(s.values + (row + r) * s.width + column + 16 * v, sums[r][v]);
}

template <class Element, int kRows = kValueRows>
inline void weigh_up_to(int64_t num_rows, const AttentionArgs& args, const AttendState& s, int64_t row, KeyRange keys,
                        const Element* block) {
  if constexpr (kRows > 0) {
    if (num_rows != kRows) return weigh_up_to<Element, kRows - 1>(num_rows, args, s, row, keys, block);
    int64_t column = 0;
    for (; column + 16 * kValueVecs <= s.width; column += 16 * kValueVecs)
      weigh_rows<kRows, kValueVecs>(args, s, row, column, keys, block);
    for (; column < s.width; column += 16) weigh_rows<kRows, 1>(args, s, row, column, keys, block);
  }
}

template <class Element>
void weigh_block(const AttentionArgs& args, const AttendState& s, int64_t num_rows, KeyRange keys,
                 const Element* block) {
  for (int64_t row = 0; row < num_rows; row += kValueRows)
    weigh_up_to<Element>(num_rows - row < kValueRows ? num_rows - row : kValueRows, args, s, row, keys, block);
}

template <class Element>
void attend_block(const AttentionArgs& args, const AttendState& s, const Piece& piece, int64_t block_start,
                  const Element* keys, const Element* values) {
  const int64_t num_rows = piece.num_rows();
  if (args.block_size == 32)
    score_block<2>(args, piece, keys, s.scores);
  else
    score_block<1>(args, piece, keys, s.scores);
  KeyRange seen{args.block_size, 0};  // by any row: what lies outside may never have been written
  for (int64_t row = 0; row < num_rows; ++row) {
    const KeyRange range = visible_keys(args, args.positions[piece.token(row)], block_start);
    softmax_row(args, s, row, range);
    if (range.begin >= range.end) continue;
    if (range.begin < seen.begin) seen.begin = range.begin;
    if (range.end > seen.end) seen.end = range.end;
  }
  weigh_block(args, s, num_rows, seen, values);
}

// Which blocks the rows of a piece see: positions ascend, so the first token sees furthest back.
inline void seen_positions(const AttentionArgs& args, const Piece& piece, int64_t& first, int64_t& last) {
  first = 0;
  if (args.sliding_window > 0 && args.positions[piece.token_begin] >= args.sliding_window)
    first = args.positions[piece.token_begin] - args.sliding_window + 1;
  last = args.positions[piece.token_end - 1];
}

// Leaves maximum, sum and values of one partition in the state.
void attend_piece(const AttentionArgs& args, const AttendState& s, const Piece& piece, int64_t sequence,
                  int64_t kv_head, int64_t partition) {
  const int64_t num_rows = piece.num_rows();
  for (int64_t row = 0; row < num_rows; ++row) {
    s.maximum[row] = -INFINITY;
    store(s.sum + row * 16, splat(0.0f));
  }
  std::memset(s.values, 0, sizeof(float) * num_rows * s.width);
  int64_t first, last;
  seen_positions(args, piece, first, last);
  const int64_t begin = partition * kPartitionKeys, end = begin + kPartitionKeys;
  if (begin > first) first = begin;
  if (end - 1 < last) last = end - 1;
  const int64_t block_values = args.head_dim * args.block_size;
  for (int64_t block = first / args.block_size; block <= last / args.block_size; ++block) {
    const int64_t id = args.block_tables[sequence * args.max_blocks + block];
    const int64_t at = (id * args.num_kv_heads + kv_head) * block_values;
    const int64_t start = block * args.block_size;
    if (args.cache_kind == CacheKind::f32) {
      attend_block(args, s, piece, start, reinterpret_cast<const float*>(args.keys) + at,
                   reinterpret_cast<const float*>(args.values) + at);
      continue;
    }
    const uint16_t* keys = reinterpret_cast<const uint16_t*>(args.keys) + at;
    const uint16_t* values = reinterpret_cast<const uint16_t*>(args.values) + at;
    if (num_rows <= kScoreRows) {
      attend_block(args, s, piece, start, keys, values);
      continue;
    }
    for (int64_t i = 0; i < block_values; i += 16) {  // widened once for all rows; exact, so nothing else changes
      store(s.key_block + i, load(keys + i));
      store(s.value_block + i, load(values + i));
    }
    attend_block<float>(args, s, piece, start, s.key_block, s.value_block);
  }
}

// Adds one partition's sums of a row to the totals of those before it.
inline void merge_row(const AttendState& s, int64_t row, float maximum, float sum, const float* values) {
  if (maximum == -INFINITY) return;  // the row sees nothing of this partition
  float* total = s.total_values + row * s.width;
  const float before = s.total_maximum[row];
  const float now = maximum > before ? maximum : before;
  float old_factor[16], new_factor[16];
  store(old_factor, exp(splat(before - now)));
  store(new_factor, exp(splat(maximum - now)));
  for (int64_t d = 0; d < s.width; d += 16)
    store(total + d, fma(load(values + d), splat(new_factor[0]), load(total + d) * splat(old_factor[0])));
  s.total_sum[row] = s.total_sum[row] * old_factor[0] + sum * new_factor[0];
  s.total_maximum[row] = now;
}

inline void clear_totals(const AttendState& s, int64_t num_rows) {
  for (int64_t row = 0; row < num_rows; ++row) {
    s.total_maximum[row] = -INFINITY;
    s.total_sum[row] = 0.0f;
  }
  std::memset(s.total_values, 0, sizeof(float) * num_rows * s.width);
}

inline void write_totals(const AttentionArgs& args, const AttendState& s, const Piece& piece) {
  for (int64_t row = 0; row < piece.num_rows(); ++row) {
    float* out = args.out + piece.token(row) * args.out_stride + piece.head(row) * args.head_dim;
    const Vec factor = splat(1.0f / s.total_sum[row]);
    const float* total = s.total_values + row * s.width;
    int64_t d = 0;
    for (; d + 16 <= args.head_dim; d += 16) store(out + d, load(total + d) * factor);
    if (d < args.head_dim) store_first(out + d, load(total + d) * factor, static_cast<int>(args.head_dim - d));
  }
}

void attend(const AttentionArgs& args, int64_t sequence, int64_t kv_head, int64_t token_begin, int64_t token_end,
            float* scratch) {
  const AttendState s = place_state(args, scratch);
  const int64_t group = args.num_heads / args.num_kv_heads;
  const int64_t head_step = group < kAttendRows ? group : kAttendRows;
  const int64_t token_step = kAttendRows / head_step;
  for (int64_t token = token_begin; token < token_end; token += token_step)
    for (int64_t head = 0; head < group; head += head_step) {
      const Piece piece{token, token + token_step < token_end ? token + token_step : token_end,
                        kv_head * group + head, head + head_step < group ? head_step : group - head};
      clear_totals(s, piece.num_rows());
      int64_t first, last;
      seen_positions(args, piece, first, last);
      for (int64_t partition = first / kPartitionKeys; partition <= last / kPartitionKeys; ++partition) {
        attend_piece(args, s, piece, sequence, kv_head, partition);
        for (int64_t row = 0; row < piece.num_rows(); ++row)
          merge_row(s, row, s.maximum[row], sum_lanes(load(s.sum + row * 16)), s.values + row * s.width);
      }
      write_totals(args, s, piece);
    }
}

// The two halves of `attend` for one token, so that several threads can share a long context.
// A partial is, for each query head of the kv head: maximum, sum, values[width].
void attend_partition(const AttentionArgs& args, int64_t sequence, int64_t kv_head, int64_t token, int64_t partition,
                      float* partial, float* scratch) {
  const AttendState s = place_state(args, scratch);
  const int64_t group = args.num_heads / args.num_kv_heads;
  const Piece piece{token, token + 1, kv_head * group, group};
  attend_piece(args, s, piece, sequence, kv_head, partition);
  for (int64_t row = 0; row < group; ++row, partial += 2 + s.width) {
    partial[0] = s.maximum[row];
    partial[1] = sum_lanes(load(s.sum + row * 16));
    std::memcpy(partial + 2, s.values + row * s.width, sizeof(float) * s.width);
  }
}

void merge_partitions(const AttentionArgs& args, int64_t kv_head, int64_t token, const float* partials,
                      int64_t num_partials, float* scratch) {
  const AttendState s = place_state(args, scratch);
  const int64_t group = args.num_heads / args.num_kv_heads;
  clear_totals(s, group);
  for (int64_t i = 0; i < num_partials; ++i)
    for (int64_t row = 0; row < group; ++row, partials += 2 + s.width)
      merge_row(s, row, partials[0], partials[1], partials + 2);
  write_totals(args, s, Piece{token, token + 1, kv_head * group, group});
}

// A value too large for float16 becomes the largest that fits; NaN stays NaN.
inline Vec to_f16_range(Vec x) { return max(splat(-65504.0f), min(splat(65504.0f), x)); }

template <class Element>
void store_token(const AttentionArgs& args, int64_t token, int64_t head) {
  const int64_t slot = args.slot_mapping[token], block = slot / args.block_size, offset = slot % args.block_size;
  const int64_t at = (block * args.num_kv_heads + head) * args.head_dim * args.block_size;
  Element* keys = reinterpret_cast<Element*>(args.keys) + at + offset;
  Element* values = reinterpret_cast<Element*>(args.values) + at + offset * args.head_dim;
  const float* k = args.k + token * args.k_stride + head * args.head_dim;
  const float* v = args.v + token * args.v_stride + head * args.head_dim;
  for (int64_t d = 0; d < args.head_dim; d += 16) {
    const int count = static_cast<int>(args.head_dim - d < 16 ? args.head_dim - d : 16);
    Vec key = load_first(k + d, count), value = load_first(v + d, count);
    if constexpr (sizeof(Element) == 2) {
      key = to_f16_range(key);
      value = to_f16_range(value);
    }
    Element lanes[16];
    store(lanes, value);
    std::memcpy(values + d, lanes, sizeof(Element) * count);
    store(lanes, key);
    for (int i = 0; i < count; ++i) keys[(d + i) * args.block_size] = lanes[i];
  }
}

void store_kv(const AttentionArgs& args, int64_t token_begin, int64_t token_end) {
  for (int64_t head = 0; head < args.num_kv_heads; ++head)
    for (int64_t token = token_begin; token < token_end; ++token)
      args.cache_kind == CacheKind::f32 ? store_token<float>(args, token, head)
                                        : store_token<uint16_t>(args, token, head);
}

}  // namespace
}  // namespace inglenook
