// Attention over the paged cache, after FlashAttention (Dao et al. 2022, arXiv:2205.14135): softmax is accumulated span
// by span with a running maximum. Included by each isa_*.cpp after the other attention_*.inl.
//
// A row is one query head of one token. All rows of a piece pass over a span of keys and values before the next span,
// kScoreRows at a time, so that grouped heads, and many tokens of a prompt, read the cache once. What a row adds up, and
// in which order, follows from its position alone: inputs in order within a score, keys in order within a span, spans in
// order within a partition of kPartitionKeys keys, partitions in order. Keys that a row doesn't see have probability 0
// and leave its sums untouched.

namespace inglenook {
namespace {

struct Piece {  // rows that are computed together: `num_heads` query heads of each token in [token_begin, token_end)
  int64_t token_begin, token_end, head_begin, num_heads;
  int64_t num_rows() const { return (token_end - token_begin) * num_heads; }
  int64_t token(int64_t row) const { return token_begin + row / num_heads; }
  int64_t head(int64_t row) const { return head_begin + row % num_heads; }
};

inline KeyRange visible_keys(const AttentionArgs& args, int64_t position, int64_t span_start) {
  const int64_t begin = args.sliding_window > 0 ? position - args.sliding_window + 1 - span_start : 0;
  const int64_t end = position + 1 - span_start;
  return {begin < 0 ? 0 : begin, end > kSpanKeys ? kSpanKeys : end};
}

template <class Element>
void pack_queries(const AttentionArgs& args, const AttendState<Element>& s, const Piece& piece) {
  for (int64_t row = 0; row < piece.num_rows(); ++row) {
    const int64_t group = row / kScoreRows * kScoreRows;
    pack_query(s.queries + group * s.num_steps + row % kScoreRows,
               args.q + piece.token(row) * args.q_stride + piece.head(row) * args.head_dim, args.head_dim,
               args.scale * kLog2E);
  }
}

// One group of rows and one span.
template <class Element, class Stored>
void attend_rows(const AttentionArgs& args, const AttendState<Element>& s, const Piece& piece, int64_t row,
                 int64_t num_rows, int64_t span_start, const SpanBlocks<Stored>& blocks) {
  KeyRange seen[kScoreRows], any{kSpanKeys, 0};
  for (int64_t r = 0; r < num_rows; ++r) {
    seen[r] = visible_keys(args, args.last_keys[piece.token(row + r)], span_start);
    if (seen[r].is_empty()) continue;
    if (seen[r].begin < any.begin) any.begin = seen[r].begin;
    if (seen[r].end > any.end) any.end = seen[r].end;
  }
  if (any.is_empty()) return;
  for (int64_t block = any.begin / args.block_size; block * args.block_size < any.end; ++block)
    score_block(num_rows, s.queries + row * s.num_steps, s.num_steps, blocks.keys[block], blocks.next_keys[block],
                args.block_size, s.scores + block * args.block_size);
  const KeyRange lanes{any.begin / 16 * 16, (any.end + 15) / 16 * 16};
  softmax_rows(args, s, row, num_rows, seen, lanes, args.cache_kind == CacheKind::q8);
  weigh_span(args, s, row, num_rows, any, blocks);
}

template <class Element, class Stored>
void attend_rows(const AttentionArgs& args, const AttendState<Element>& s, const Piece& piece, int64_t span_start,
                 const SpanBlocks<Stored>& blocks) {
  const int64_t num_rows = piece.num_rows();
  for (int64_t row = 0; row < num_rows; row += kScoreRows)
    attend_rows(args, s, piece, row, num_rows - row < kScoreRows ? num_rows - row : kScoreRows, span_start, blocks);
}

// All rows and one span.
template <class Element>
void attend_span(const AttentionArgs& args, const AttendState<Element>& s, const Piece& piece, int64_t span_start,
                 const SpanPlace& place, const SpanPlace& next) {
  const bool is_stream = piece.num_rows() <= kStreamRows;
  if (!is_narrow(args))
    return attend_rows(args, s, piece, span_start, find_span<Element>(args, place, next, is_stream));
  const auto blocks = find_span<Narrow<Element>>(args, place, next, is_stream);
  if (args.cache_kind == CacheKind::q8) copy_scales(args, s, place, blocks, is_stream);
  if (is_stream) return attend_rows(args, s, piece, span_start, blocks);
  attend_rows(args, s, piece, span_start, widen_span(args, s, place, blocks));
}

struct Positions {
  int64_t first, last;
};

// Positions that the rows of a piece see: tokens ascend, so the first one sees furthest back.
inline Positions seen_positions(const AttentionArgs& args, int64_t token_begin, int64_t token_end) {
  const int64_t first = args.last_keys[token_begin];
  const bool is_cut = args.sliding_window > 0 && first >= args.sliding_window;
  return {is_cut ? first - args.sliding_window + 1 : 0, args.last_keys[token_end - 1]};
}

// The blocks of a span that are seen.
inline SpanPlace place_span(const AttentionArgs& args, const AttendItem& item, const Positions& seen, int64_t start) {
  const int64_t begin = seen.first > start ? seen.first - start : 0;
  const int64_t end = seen.last - start + 1 < kSpanKeys ? seen.last - start + 1 : kSpanKeys;
  return {args.block_tables + item.sequence * args.max_blocks, item.kv_head, start / args.block_size,
          begin / args.block_size, (end + args.block_size - 1) / args.block_size};
}

inline int64_t first_span(const Positions& seen, int64_t partition) {
  const int64_t begin = partition * kPartitionKeys;
  return (begin > seen.first ? begin : seen.first) / kSpanKeys * kSpanKeys;
}

// Leaves maximum, sum and values of one partition in the state.
template <class Element>
void attend_piece(const AttentionArgs& args, const AttendState<Element>& s, const Piece& piece, const AttendItem& item,
                  const Positions& seen, int64_t partition, const SpanPlace& after) {
  const int64_t num_rows = piece.num_rows();
  for (int64_t row = 0; row < num_rows; ++row) s.maximum[row] = kSeesNothing;
  std::memset(s.sum, 0, sizeof(float) * num_rows * 16);
  std::memset(s.values, 0, sizeof(float) * num_rows * s.width);
  const int64_t end = (partition + 1) * kPartitionKeys;
  const int64_t last_end = item.partials != nullptr ? item.partition_end * kPartitionKeys : seen.last + 1;
  SpanPlace place = place_span(args, item, seen, first_span(seen, partition));
  for (int64_t start = first_span(seen, partition); start < end && start <= seen.last; start += kSpanKeys) {
    const bool is_last = start + kSpanKeys > seen.last || start + kSpanKeys >= last_end;
    const SpanPlace next = is_last ? after : place_span(args, item, seen, start + kSpanKeys);
    attend_span(args, s, piece, start, place, next);
    place = next;
  }
}

// --- partitions ----------------------------------------------------------------------------------------------------

// Adds one partition's sums of a row to the totals of those before it.
template <class Element>
inline void merge_row(const AttendState<Element>& s, int64_t row, float maximum, float sum, const float* values) {
  if (maximum == kSeesNothing) return;
  float* total = s.total_values + row * s.width;
  const float before = s.total_maximum[row];
  const float now = maximum > before ? maximum : before;
  float old_factor[16], new_factor[16];
  store(old_factor, exp2(splat(before - now)));
  store(new_factor, exp2(splat(maximum - now)));
  for (int64_t d = 0; d < s.width; d += 16)
    store(total + d, fma(load(values + d), splat(new_factor[0]), load(total + d) * splat(old_factor[0])));
  s.total_sum[row] = s.total_sum[row] * old_factor[0] + sum * new_factor[0];
  s.total_maximum[row] = now;
}

template <class Element>
inline void clear_totals(const AttendState<Element>& s, int64_t num_rows) {
  for (int64_t row = 0; row < num_rows; ++row) {
    s.total_maximum[row] = kSeesNothing;
    s.total_sum[row] = 0.0f;
  }
  std::memset(s.total_values, 0, sizeof(float) * num_rows * s.width);
}

inline void write_row(const AttentionArgs& args, const Piece& piece, int64_t row, float sum, const float* values) {
  float* out = args.out + piece.token(row) * args.out_stride + piece.head(row) * args.head_dim;
  const Vec factor = splat(1.0f / sum);
  int64_t d = 0;
  for (; d + 16 <= args.head_dim; d += 16) store(out + d, load(values + d) * factor);
  if (d < args.head_dim) store_first(out + d, load(values + d) * factor, static_cast<int>(args.head_dim - d));
}

// What a thread reads first of its next item.
inline SpanPlace first_place(const AttentionArgs& args, const AttendItem& item) {
  const Positions seen = seen_positions(args, item.token_begin, item.token_end);
  return place_span(args, item, seen, first_span(seen, item.partition_begin));
}

// Whole rows: all partitions, merged, written.
template <class Element>
void attend_whole(const AttentionArgs& args, const AttendState<Element>& s, const AttendItem& item, const Piece& piece,
                  const SpanPlace& after) {
  const int64_t num_rows = piece.num_rows();
  const Positions seen = seen_positions(args, piece.token_begin, piece.token_end);
  const int64_t begin = seen.first / kPartitionKeys, end = seen.last / kPartitionKeys + 1;
  pack_queries(args, s, piece);
  if (end - begin == 1) {  // merging one partition would change nothing
    attend_piece(args, s, piece, item, seen, begin, after);
    for (int64_t row = 0; row < num_rows; ++row)
      write_row(args, piece, row, sum_lanes(load(s.sum + row * 16)), s.values + row * s.width);
    return;
  }
  clear_totals(s, num_rows);
  for (int64_t partition = begin; partition < end; ++partition) {
    attend_piece(args, s, piece, item, seen, partition, after);
    for (int64_t row = 0; row < num_rows; ++row)
      merge_row(s, row, s.maximum[row], sum_lanes(load(s.sum + row * 16)), s.values + row * s.width);
  }
  for (int64_t row = 0; row < num_rows; ++row)
    write_row(args, piece, row, s.total_sum[row], s.total_values + row * s.width);
}

// Partitions of one token, for merge_partitions. A partial is, for each query head of the kv head: maximum, sum,
// values[width].
template <class Element>
void attend_partitions(const AttentionArgs& args, const AttendState<Element>& s, const AttendItem& item,
                       const Piece& piece, const SpanPlace& after) {
  const Positions seen = seen_positions(args, piece.token_begin, piece.token_end);
  float* partial = item.partials;
  pack_queries(args, s, piece);
  for (int64_t partition = item.partition_begin; partition < item.partition_end; ++partition) {
    attend_piece(args, s, piece, item, seen, partition, after);
    for (int64_t row = 0; row < piece.num_heads; ++row, partial += 2 + s.width) {
      partial[0] = s.maximum[row];
      partial[1] = sum_lanes(load(s.sum + row * 16));
      std::memcpy(partial + 2, s.values + row * s.width, sizeof(float) * s.width);
    }
  }
}

template <class Element>
void attend_item(const AttentionArgs& args, const AttendItem& item, const AttendItem& next, float* scratch) {
  const auto s = place_state<Element>(args, scratch);
  const int64_t group = args.num_heads / args.num_kv_heads;
  const int64_t head_step = group < kAttendRows ? group : kAttendRows;
  for (int64_t head = 0; head < group; head += head_step) {
    const int64_t num_heads = head + head_step < group ? head_step : group - head;
    const Piece piece{item.token_begin, item.token_end, item.kv_head * group + head, num_heads};
    assert(piece.num_rows() <= kAttendRows);
    if (item.partials != nullptr)
      attend_partitions(args, s, item, piece, first_place(args, next));
    else
      attend_whole(args, s, item, piece, first_place(args, next));
  }
}

void merge_partitions(const AttentionArgs& args, int64_t kv_head, int64_t token, const float* partials,
                      int64_t num_partials, float* scratch) {
  const auto s = place_state<float>(args, scratch);
  const int64_t group = args.num_heads / args.num_kv_heads;
  clear_totals(s, group);
  for (int64_t i = 0; i < num_partials; ++i)
    for (int64_t row = 0; row < group; ++row, partials += 2 + s.width)
      merge_row(s, row, partials[0], partials[1], partials + 2);
  for (int64_t row = 0; row < group; ++row)
    write_row(args, Piece{token, token + 1, kv_head * group, group}, row, s.total_sum[row],
               s.total_values + row * s.width);
}

// --- the kernels of the table ----------------------------------------------------------------------------------------

inline bool is_paired(const AttentionArgs& args) {
  return args.cache_kind == CacheKind::bf16 || args.cache_kind == CacheKind::q8;
}

void attend(const AttentionArgs& args, const AttendItem& item, const AttendItem& next, float* scratch) {
  is_paired(args) ? attend_item<Pair>(args, item, next, scratch) : attend_item<float>(args, item, next, scratch);
}

}  // namespace
}  // namespace inglenook
