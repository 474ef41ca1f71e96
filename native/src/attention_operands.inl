// What attention multiplies with: floats, or pairs of bfloat16 that one instruction multiplies and adds up, the products
// of neighbouring inputs (scores) or keys (values). Everything else is the same code for both.
// Included by each isa_*.cpp after its simd_*.h and vector_math.h.

namespace inglenook {
namespace {

using Pair = uint32_t;  // two bfloat16, the first in the lower half

template <class Element>
constexpr int64_t kInputs = sizeof(Element) == sizeof(float) && !std::is_same_v<Element, Pair> ? 1 : 2;

// A pair is multiplied in as many parts as the instruction set needs.
template <class Element>
constexpr int kParts = kInputs<Element> == 1 ? 1 : kPairParts;

template <class Element, class Function>
inline void each_part(Function function) {
  function(std::integral_constant<int, 0>{});
  if constexpr (kParts<Element> == 2) function(std::integral_constant<int, 1>{});
}

template <int kPart>
inline Vec load_operand(const float* p) {
  return load(p);
}
template <int kPart>
inline PairVec load_operand(const Pair* p) {
  return load_pairs<kPart>(reinterpret_cast<const uint8_t*>(p));
}
// Narrow ones of the cache, widened exactly.
template <int kPart>
inline Vec load_operand(const uint16_t* f16) {
  return load(f16);
}
struct CodePair {  // q8
  int8_t codes[2];
};
template <int kPart>
inline PairVec load_operand(const CodePair* p) {
  return load_code_pairs<kPart>(p->codes);
}
template <class Element>
using Narrow = std::conditional_t<std::is_same_v<Element, float>, uint16_t, CodePair>;

template <int kPart>
inline Vec splat_operand(const float* p) {
  return splat(*p);
}
template <int kPart>
inline PairVec splat_operand(const Pair* p) {
  return splat_pair<kPart>(reinterpret_cast<const uint16_t*>(p));
}

template <class Element>
inline Vec multiply_add(Vec sum, std::conditional_t<kInputs<Element> == 1, Vec, PairVec> a,
                        std::conditional_t<kInputs<Element> == 1, Vec, PairVec> b) {
  if constexpr (kInputs<Element> == 1)
    return fma(a, b, sum);
  else
    return dot_pairs(sum, a, b);
}

constexpr int64_t kSpanBlocks = kSpanKeys / 16;  // at most
constexpr int kStreamRows = 8;  // up to so many rows pass over a span faster than it comes from memory

// Where the blocks of a span lie: in the cache, as they are `Stored` there, or widened. While a block is multiplied, the
// same place of the span after it is fetched, when there are so few rows that one would wait for memory.
template <class Stored>
struct SpanBlocks {
  const Stored* keys[kSpanBlocks];
  const Stored* values[kSpanBlocks];
  const Stored* next_keys[kSpanBlocks];  // rows > kStreamRows: not set
  const Stored* next_values[kSpanBlocks];
};

template <int kRows>
inline void fetch_ahead(const void* p) {
  if constexpr (kRows <= kStreamRows) __builtin_prefetch(p, 0, 2);
}

// The running sums of a piece's rows, and room for what is made from a span. Lies in one thread's scratch.
template <class Element>
struct AttendState {
  int64_t width;           // head_dim, rounded up to 16
  int64_t num_steps;       // head_dim in elements
  Element* queries;        // [groups of rows, steps, kScoreRows]: times the scale and log2 e
  float* maximum;          // [rows]: of the scores, in units of log2 e
  float* sum;              // [rows, 16]: probabilities, summed lane by lane
  float* values;           // [rows, width]
  float* total_maximum;    // the same over the partitions before this one
  float* total_sum;        // [rows]
  float* total_values;
  float* scores;           // [kScoreRows, kSpanKeys]
  Element* probabilities;  // [kScoreRows, kSpanKeys in elements]
  float* correction;       // [kScoreRows]: what a row's earlier sums are multiplied with
  Element* wide_keys;      // a span's blocks, where the cache keeps them narrower; as in the cache
  Element* wide_values;
  float* key_scales;       // [kSpanKeys], q8 only
  float* value_scales;
};

template <class Element>
AttendState<Element> place_state(const AttentionArgs& args, float* scratch) {
  AttendState<Element> s;
  s.width = (args.head_dim + 15) / 16 * 16;
  s.num_steps = (args.head_dim + kInputs<Element> - 1) / kInputs<Element>;
  const auto take = [&scratch](int64_t count) {
    float* p = scratch;
    scratch += (count + 15) / 16 * 16;
    return p;
  };
  constexpr int64_t kGroups = (kAttendRows + kScoreRows - 1) / kScoreRows;
  s.queries = reinterpret_cast<Element*>(take(kGroups * kScoreRows * s.num_steps));
  s.maximum = take(kAttendRows + kScoreRows);
  s.sum = take(kAttendRows * 16);
  s.values = take(kAttendRows * s.width);
  s.total_maximum = take(kAttendRows);
  s.total_sum = take(kAttendRows);
  s.total_values = take(kAttendRows * s.width);
  s.scores = take(kScoreRows * kSpanKeys);
  s.probabilities = reinterpret_cast<Element*>(take(kScoreRows * kSpanKeys / kInputs<Element>));
  s.correction = take(16);
  s.key_scales = take(kSpanKeys);
  s.value_scales = take(kSpanKeys);
  s.wide_keys = reinterpret_cast<Element*>(take(kSpanKeys * s.num_steps));
  s.wide_values = reinterpret_cast<Element*>(take(kSpanKeys / kInputs<Element> * s.width));
  return s;
}

}  // namespace
}  // namespace inglenook
