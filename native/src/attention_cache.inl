// The cache's formats: writing a token's keys and values, reading the blocks of a span. See CacheKind in kernels.h.
// Included after attention_values.inl.

namespace inglenook {
namespace {

inline uint8_t* cache_record(const AttentionArgs& args, uint8_t* cache, int64_t block, int64_t head) {
  return cache + (block * args.num_kv_heads + head) * cache_record_bytes(args.cache_kind, args.head_dim, args.block_size);
}

// --- writing -------------------------------------------------------------------------------------------------------

// A value too large for float16 becomes the largest that fits; NaN stays NaN.
inline Vec to_f16_range(Vec x) { return max(splat(-65504.0f), min(splat(65504.0f), x)); }

inline int64_t padded_width(const AttentionArgs& args) { return (args.head_dim + 15) / 16 * 16; }
inline int vector_count(int64_t width, int64_t at) { return static_cast<int>(width - at < 16 ? width - at : 16); }

template <class Stored>  // float, or uint16_t: float16
void store_plain(const AttentionArgs& args, const float* k, const float* v, int64_t offset, uint8_t* key_record,
                 uint8_t* value_record) {
  Stored* keys = reinterpret_cast<Stored*>(key_record) + offset;
  Stored* values = reinterpret_cast<Stored*>(value_record) + offset * padded_width(args);
  for (int64_t d = 0; d < args.head_dim; d += 16) {
    const int count = vector_count(args.head_dim, d);
    Vec key = load_first(k + d, count), value = load_first(v + d, count);
    if constexpr (sizeof(Stored) == 2) {
      key = to_f16_range(key);
      value = to_f16_range(value);
    }
    Stored lanes[16];
    store(lanes, value);
    std::memcpy(values + d, lanes, sizeof(Stored) * count);
    store(lanes, key);
    for (int i = 0; i < count; ++i) keys[(d + i) * args.block_size] = lanes[i];
  }
}

// The first of a pair of values clears the second where that isn't of the same step: what was there before may be NaN.
void store_pairs(const AttentionArgs& args, const float* k, const float* v, bool is_next_stored, int64_t offset,
                 uint8_t* key_record, uint8_t* value_record) {
  Pair* keys = reinterpret_cast<Pair*>(key_record) + offset;
  uint16_t* values = reinterpret_cast<uint16_t*>(value_record) + offset / 2 * 2 * padded_width(args) + offset % 2;
  for (int64_t d = 0; d < args.head_dim; d += 16) {
    const int count = vector_count(args.head_dim, d);
    uint16_t halves[16];
    store_bf16(halves, load_first(k + d, count));
    for (int i = 0; i < count; i += 2)
      keys[(d + i) / 2 * args.block_size] = halves[i] | static_cast<Pair>(halves[i + 1]) << 16;
    store_bf16(halves, load_first(v + d, count));
    for (int i = 0; i < count; ++i) values[2 * (d + i)] = halves[i];
  }
  if (offset % 2 == 0 && !is_next_stored)
    for (int64_t d = 0; d < args.head_dim; ++d) values[2 * d + 1] = 0;
}

// One scale for the head; NaN and infinity anywhere make it NaN.
float quantize_head(const float* x, int64_t head_dim, int8_t* codes) {
  Vec largest = splat(0.0f), taint = splat(0.0f);
  for (int64_t d = 0; d < head_dim; d += 16) {
    const Vec a = load_first(x + d, vector_count(head_dim, d));
    largest = max(abs(a), largest);
    taint = taint + a * splat(0.0f);
  }
  const float absolute = max_lanes(largest);
  const Vec inverse = splat(absolute > 0.0f ? 127.0f / absolute : 0.0f);
  for (int64_t d = 0; d < head_dim; d += 16) {
    const int count = vector_count(head_dim, d);
    float rounded[16];
    store(rounded, max(splat(-127.0f), min(splat(127.0f), round(load_first(x + d, count) * inverse))));
    for (int i = 0; i < count; ++i) codes[d + i] = rounded[i] == rounded[i] ? static_cast<int8_t>(rounded[i]) : 0;
  }
  return absolute / 127.0f + sum_lanes(taint);
}

void store_codes(const AttentionArgs& args, const float* k, const float* v, int64_t offset, uint8_t* key_record,
                 uint8_t* value_record) {
  const int64_t num_codes = padded_width(args) * args.block_size;
  int8_t* keys = reinterpret_cast<int8_t*>(key_record) + offset / 16 * 32 + offset % 16;
  int8_t* values = reinterpret_cast<int8_t*>(value_record) + offset / 2 * 2 * padded_width(args) + offset % 2 * 16;
  int8_t codes[kMaxQuantizedHead];
  reinterpret_cast<float*>(key_record + num_codes)[offset] = quantize_head(k, args.head_dim, codes);
  for (int64_t d = 0; d < args.head_dim; ++d) keys[d / 2 * 2 * args.block_size + d % 2 * 16] = codes[d];
  reinterpret_cast<float*>(value_record + num_codes)[offset] = quantize_head(v, args.head_dim, codes);
  for (int64_t d = 0; d < args.head_dim; d += 16)
    std::memcpy(values + 2 * d, codes + d, static_cast<size_t>(vector_count(args.head_dim, d)));
}

void store_kv(const AttentionArgs& args, int64_t token_begin, int64_t token_end) {
  for (int64_t token = token_begin; token < token_end; ++token) {
    const int64_t slot = args.slot_mapping[token], block = slot / args.block_size, offset = slot % args.block_size;
    const bool is_next_stored = token + 1 < args.num_tokens && args.slot_mapping[token + 1] == slot + 1;
    for (int64_t head = 0; head < args.num_kv_heads; ++head) {
      const float* k = args.k + token * args.k_stride + head * args.head_dim;
      const float* v = args.v + token * args.v_stride + head * args.head_dim;
      uint8_t* keys = cache_record(args, args.keys, block, head);
      uint8_t* values = cache_record(args, args.values, block, head);
      switch (args.cache_kind) {
        case CacheKind::f32:
          store_plain<float>(args, k, v, offset, keys, values);
          break;
        case CacheKind::f16:
          store_plain<uint16_t>(args, k, v, offset, keys, values);
          break;
        case CacheKind::bf16:
          store_pairs(args, k, v, is_next_stored, offset, keys, values);
          break;
        case CacheKind::q8:
          store_codes(args, k, v, offset, keys, values);
          break;
      }
    }
  }
}

// --- reading -------------------------------------------------------------------------------------------------------

struct SpanPlace {  // blocks [begin, end) of the span that begins with block `first` of a sequence
  const int32_t* block_table;
  int64_t kv_head, first, begin, end;
};

inline bool is_narrow(const AttentionArgs& args) {
  return args.cache_kind == CacheKind::f16 || args.cache_kind == CacheKind::q8;
}

// The blocks where they lie. `next` is what is read after this span.
template <class Stored>
SpanBlocks<Stored> find_span(const AttentionArgs& args, const SpanPlace& place, const SpanPlace& next, bool is_stream) {
  SpanBlocks<Stored> blocks;
  const auto record = [&](uint8_t* cache, const SpanPlace& from, int64_t b) {
    return reinterpret_cast<const Stored*>(cache_record(args, cache, from.block_table[from.first + b], from.kv_head));
  };
  for (int64_t b = place.begin; b < place.end; ++b) {
    blocks.keys[b] = record(args.keys, place, b);
    blocks.values[b] = record(args.values, place, b);
    if (!is_stream) continue;
    const bool has_next = b >= next.begin && b < next.end;
    blocks.next_keys[b] = has_next ? record(args.keys, next, b) : blocks.keys[b];
    blocks.next_values[b] = has_next ? record(args.values, next, b) : blocks.values[b];
  }
  return blocks;
}

// Scales of a q8 span, one after another.
inline void copy_scales(const AttentionArgs& args, const AttendState<Pair>& s, const SpanPlace& place,
                        const SpanBlocks<CodePair>& blocks, bool is_stream) {
  const int64_t num_pairs = s.width / 2 * args.block_size;
  const size_t num_bytes = sizeof(float) * args.block_size;
  for (int64_t b = place.begin; b < place.end; ++b) {
    std::memcpy(s.key_scales + b * args.block_size, blocks.keys[b] + num_pairs, num_bytes);
    std::memcpy(s.value_scales + b * args.block_size, blocks.values[b] + num_pairs, num_bytes);
    for (size_t at = 0; is_stream && at < num_bytes; at += 64) {
      fetch_ahead<1>(reinterpret_cast<const uint8_t*>(blocks.next_keys[b] + num_pairs) + at);
      fetch_ahead<1>(reinterpret_cast<const uint8_t*>(blocks.next_values[b] + num_pairs) + at);
    }
  }
}
inline void copy_scales(const AttentionArgs&, const AttendState<float>&, const SpanPlace&, const SpanBlocks<uint16_t>&,
                        bool) {}

inline void widen(float* out, const uint16_t* f16) { store(out, load(f16)); }
inline void widen(Pair* out, const CodePair* codes) { store_code_pairs(out, codes->codes); }

// Widened once for many rows; exact, so that nothing else changes.
template <class Element>
SpanBlocks<Element> widen_span(const AttentionArgs& args, const AttendState<Element>& s, const SpanPlace& place,
                               const SpanBlocks<Narrow<Element>>& narrow) {
  const int64_t num_keys = s.num_steps * args.block_size;
  const int64_t num_values = args.block_size / kInputs<Element> * s.width;
  SpanBlocks<Element> wide;
  for (int64_t b = place.begin; b < place.end; ++b) {
    Element* keys = s.wide_keys + b * num_keys;
    Element* values = s.wide_values + b * num_values;
    for (int64_t i = 0; i < num_keys; i += 16) widen(keys + i, narrow.keys[b] + i);
    for (int64_t i = 0; i < num_values; i += 16) widen(values + i, narrow.values[b] + i);
    wide.keys[b] = keys;
    wide.values[b] = values;
  }
  return wide;
}

}  // namespace
}  // namespace inglenook
