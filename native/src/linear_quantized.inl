// Linear layers with weights of 4 to 8 bits and activations of 8. Included at file scope by each isa_*.cpp, so that it
// is compiled once per instruction set; the vector steps are those of quantized_<isa>.h.
//
// For each group of inputs an exact integer sum of code * activation code, then in float, in the order of the groups:
//   sum += float(dot) * (weight_scale * activation_scale)            dot has had zero_point * (sum of codes) taken off
//   sum += minimum * (activation_scale * (sum of codes))             formats with a minimum
// Every path below does exactly these operations, so a row's result doesn't depend on the number of rows.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels.h"
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include "quantized_avx512.h"
#elif defined(__AVX2__)
#include "quantized_avx2.h"
#else
#include "quantized_scalar.h"
#endif
#include "half.h"

namespace inglenook {
namespace {
namespace quantized {

constexpr int kVectorsPerTile = static_cast<int>(kTileRows) / kLanes;
constexpr int64_t kLineBytes = 64;
constexpr int64_t kActivationGroup = 32;
constexpr int64_t kMaxGroups = 512;                   // groups whose corrections are kept at a time
constexpr int64_t kPrefetchBytes = 4096;              // how far ahead of the arithmetic weights are asked for
constexpr int64_t kCachedBytes = int64_t{512} << 10;  // weights that stay in the second-level cache between row blocks

template <WeightKind kKindValue, ScaleKind kScaleKindValue, bool kHasMinimumValue>
struct Format {
  static constexpr WeightKind kKind = kKindValue;
  static constexpr ScaleKind kScaleKind = kScaleKindValue;
  static constexpr bool kHasMinimum = kHasMinimumValue;
  static constexpr int kBits =
      kKind == WeightKind::q4 ? 4 : kKind == WeightKind::q5 ? 5 : kKind == WeightKind::q6 ? 6 : 8;
  static constexpr int kGroup = kKind == WeightKind::q6 ? 16 : 32;
  static constexpr int kLines = kGroup / 4;
  static constexpr int kNibbleLines = kLines / 2;
  static constexpr int64_t kCodeBytes =
      kLineBytes * (kBits == 8 ? kLines : kBits == 4 ? kNibbleLines : kNibbleLines + 1);
  static constexpr int kScaleBytes = kScaleKind == ScaleKind::f16 ? 2 : 1;
  // The headers of a tile: kHeaderBytes for each kGroupsOfBlock groups.
  static constexpr int kGroupsOfBlock = static_cast<int>(kScaleBlock) / kGroup;
  static constexpr int64_t kHeaderBytes = kScaleKind == ScaleKind::f16 ? 0 : 2 * kTileRows * (kHasMinimum ? 2 : 1);
  static constexpr int64_t kRecordBytes = kCodeBytes + kTileRows * kScaleBytes * (kHasMinimum ? 2 : 1);
  static constexpr bool kTakesOffZeroPoint = !kHasMinimum && !(kBits == 8 && kSignedEight);
};

// --- rows in panels -------------------------------------------------------------------------------------------------

// How many of the rows that are left make the next panel: as many as fit, the last two panels about equally large.
inline int64_t next_panel(int64_t num_left) {
  if (num_left >= 2 * kMaxRows || num_left <= kMaxRows) return std::min<int64_t>(num_left, kMaxRows);
  return (num_left + 1) / 2;
}

// What a panel's dots are corrected by, [group][row]: with a minimum, scale * (sum of codes); else what a dot starts
// with, so that the zero point is taken off.
template <class F, int kRows>
struct Corrections {
  using Value = std::conditional_t<F::kHasMinimum, float, int32_t>;
  Value values[kMaxGroups * kRows];

  void fill(const PreparedRows& x, int64_t row, int64_t group_begin, int64_t num_groups, int32_t zero_point) {
    if constexpr (!F::kHasMinimum && !F::kTakesOffZeroPoint) return;
    const float* scales = x.scales + row * (x.in_features / kActivationGroup) + group_begin * kRows;
    const int32_t* sums = x.sums + row * (x.in_features / 16) + group_begin * (F::kGroup / 16) * kRows;
    for (int64_t g = 0; g < num_groups; ++g) {
      for (int n = 0; n < kRows; ++n) {
        const int64_t i = g * kRows + n;
        const int32_t sum = F::kGroup == 16 ? sums[i] : sums[2 * g * kRows + n] + sums[(2 * g + 1) * kRows + n];
        if constexpr (F::kHasMinimum) {
          values[i] = scales[i] * static_cast<float>(sum);
        } else {
          values[i] = -zero_point * sum;
        }
      }
    }
  }
};

// --- unpacking ----------------------------------------------------------------------------------------------------

// Bits to the left that bring line kIndex's share of the plane of upper bits to bit 4.
template <class F, int kIndex>
constexpr int kPlaneShift = F::kBits == 5 ? 4 - kIndex : 4 - 2 * kIndex;
template <class F>
constexpr uint8_t kPlaneMask = F::kBits == 5 ? 0x10 : 0x30;

// Calls use(index, codes) for every line of a packed group; `record` points at this register's first byte.
template <class F, int... kIndex, class Use>
inline __attribute__((always_inline)) void for_each_line(const uint8_t* record, std::integer_sequence<int, kIndex...>,
                                                          Use use) {
  if constexpr (F::kBits == 8) {
    (use(kIndex, load_bytes(record + kIndex * kLineBytes)), ...);
    (use(kIndex + F::kNibbleLines, load_bytes(record + (kIndex + F::kNibbleLines) * kLineBytes)), ...);
  } else if constexpr (F::kBits == 4) {
    (
        [&] {
          const Bytes packed = load_bytes(record + kIndex * kLineBytes);
          use(kIndex, low_nibbles(packed));
          use(kIndex + F::kNibbleLines, high_nibbles(packed));
        }(),
        ...);
  } else {
    const Bytes plane = load_bytes(record + F::kNibbleLines * kLineBytes);
    (
        [&] {
          const Bytes packed = load_bytes(record + kIndex * kLineBytes);
          use(kIndex, insert_bits<kPlaneShift<F, kIndex>>(low_nibbles(packed), plane, kPlaneMask<F>));
          use(kIndex + F::kNibbleLines, insert_bits<kPlaneShift<F, kIndex + F::kNibbleLines>>(
                                            high_nibbles(packed), plane, kPlaneMask<F>));
        }(),
        ...);
  }
}

// Scale (kIndex 0) or minimum (1) of the outputs from `lane` on.
template <class F, int kIndex>
inline Floats load_factor(const uint8_t* record, const uint8_t* header, int lane) {
  const int64_t at = kIndex * kTileRows + lane;
  const uint8_t* stored = record + F::kCodeBytes + at * F::kScaleBytes;
  if constexpr (F::kScaleKind == ScaleKind::f16) return load_half(stored);
  return multiply(load_half(header + 2 * at), to_floats(load_int8(stored)));
}

// --- one group of one register of outputs, for the rows of a panel -------------------------------------------------

// Where a panel's values of one group stand; of each, a row's neighbour is the next row's.
template <class F, int kRows>
struct PanelGroup {
  const int8_t* codes;  // [quads of inputs][row][4]
  const float* scales;
  const typename Corrections<F, kRows>::Value* corrections;
};

// Adds to sums[n] what the group contributes for row n. `record` is the group's, `header` its block's, `lane` the
// register's first row in the tile.
template <class F, int kRows>
inline __attribute__((always_inline)) void multiply_group(const uint8_t* record, const uint8_t* header, int lane,
                                                           const PanelGroup<F, kRows>& x, Floats (&sums)[kRows]) {
  Dot<F::kBits> dots[kRows];
#pragma GCC unroll 12
  for (int n = 0; n < kRows; ++n) dots[n].start(F::kTakesOffZeroPoint ? static_cast<int32_t>(x.corrections[n]) : 0);
  int count = 0;  // numbers the lines as they come
  for_each_line<F>(record + 4 * lane, std::make_integer_sequence<int, F::kNibbleLines>{},
                   [&](int line, const Bytes& bytes) __attribute__((always_inline)) {
                     const Line<F::kBits> codes_of_line(bytes);
#pragma GCC unroll 12
                     for (int n = 0; n < kRows; ++n) {
                       dots[n].add(count, codes_of_line, load_quad(x.codes + 4 * (line * kRows + n)));
                     }
                     ++count;
                   });
  const Floats scale = load_factor<F, 0>(record, header, lane);
#pragma GCC unroll 12
  for (int n = 0; n < kRows; ++n) {
    const Floats factor = multiply(scale, splat(x.scales[n]));
    sums[n] = multiply_add(to_floats(dots[n].result()), factor, sums[n]);
  }
  if constexpr (F::kHasMinimum) {
    const Floats minimum = load_factor<F, 1>(record, header, lane);
#pragma GCC unroll 12
    for (int n = 0; n < kRows; ++n) sums[n] = multiply_add(minimum, splat(x.corrections[n]), sums[n]);
  }
}

// --- all outputs of some tiles -------------------------------------------------------------------------------------

struct Output {
  const float* bias;
  float* y;
  int64_t y_stride;
  bool accumulate;
  int64_t out_features;
};

inline void finish(const Output& output, int64_t row, int64_t column, Floats sum) {
  const int64_t count = output.out_features - column;
  if (count <= 0) return;
  float* y = output.y + row * output.y_stride + column;
  if (output.bias != nullptr) sum = add(sum, load_first(output.bias + column, count));
  if (output.accumulate) sum = add(load_first(y, count), sum);
  store_first(y, sum, count);
}

// The panel of kRows rows that begins with `row_begin`, in one pass over the weights.
template <class F, int kRows>
void linear_panel(const PackedWeight& w, const PreparedRows& x, int64_t row_begin, const Output& output,
                  int64_t tile_begin, int64_t tile_end) {
  constexpr int kVectors = kRows <= kRowsOfWholeTiles ? kVectorsPerTile : 1;
  const int64_t num_groups = w.in_features / F::kGroup;
  const int8_t* codes = x.codes + row_begin * x.in_features;
  const float* scales = x.scales + row_begin * (x.in_features / kActivationGroup);
  Corrections<F, kRows> corrections;
  int64_t filled_from = -1;
  for (int64_t column = tile_begin * kVectorsPerTile; column < tile_end * kVectorsPerTile; column += kVectors) {
    const uint8_t* tile = w.data + column / kVectorsPerTile * static_cast<int64_t>(w.tile_bytes);
    const int lane = static_cast<int>(column % kVectorsPerTile) * kLanes;
    Floats sums[kVectors][kRows];
    for (auto& of_vector : sums) std::fill_n(of_vector, kRows, zero());
    for (int64_t begin = 0; begin < num_groups; begin += kMaxGroups) {
      const int64_t count = std::min(kMaxGroups, num_groups - begin);
      if (filled_from != begin) corrections.fill(x, row_begin, begin, count, w.zero_point);
      filled_from = begin;
      const uint8_t* record = tile + w.header_bytes + begin * F::kRecordBytes;
      for (int64_t g = 0; g < count; ++g, record += F::kRecordBytes) {
        // The processor's own prefetching, within pages of 4 KiB, reaches less than half of what memory delivers here.
        for (int64_t line = 0; line < F::kRecordBytes; line += kLineBytes) {
          __builtin_prefetch(record + kPrefetchBytes + line);
        }
        const uint8_t* header = tile + (begin + g) / F::kGroupsOfBlock * F::kHeaderBytes;
        const PanelGroup<F, kRows> group{codes + (begin + g) * F::kGroup * kRows,
                                         scales + (begin + g) * F::kGroup / kActivationGroup * kRows,
                                         corrections.values + g * kRows};
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) multiply_group<F, kRows>(record, header, lane + v * kLanes, group, sums[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      for (int n = 0; n < kRows; ++n) finish(output, row_begin + n, (column + v) * kLanes, sums[v][n]);
    }
  }
}

template <class F, int... kSmaller>
void linear_some_rows(const PackedWeight& w, const PreparedRows& x, int64_t row_begin, int64_t num_rows,
                      const Output& output, int64_t tile_begin, int64_t tile_end,
                      std::integer_sequence<int, kSmaller...>) {
  (void)((num_rows == kSmaller + 1 &&
          (linear_panel<F, kSmaller + 1>(w, x, row_begin, output, tile_begin, tile_end), true)) ||
         ...);
}

static_assert(kRowUnit % kMaxRows == 0 && kRowUnit >= 2 * kMaxRows);

template <class F>
void linear(const PackedWeight& w, const PreparedRows& x, const Output& output, const Range& of_rows,
            const Range& of_tiles) {
  const int64_t step = std::max<int64_t>(1, kCachedBytes / static_cast<int64_t>(w.tile_bytes));
  for (int64_t tile = of_tiles.begin; tile < of_tiles.end; tile += step) {
    const int64_t end = std::min(tile + step, of_tiles.end);
    for (int64_t row = of_rows.begin; row < of_rows.end;) {
      const int64_t count = next_panel(x.num_rows - row);
      linear_some_rows<F>(w, x, row, count, output, tile, end, std::make_integer_sequence<int, kMaxRows>{});
      row += count;
    }
  }
}

// Groups [begin, end) of one row that is row `n` of a panel of `num_rows`; the arrays begin with the panel's.
inline void prepare_row(const float* x, int64_t begin, int64_t end, int64_t n, int64_t num_rows, int8_t* codes,
                        float* scales, int32_t* sums) {
  constexpr uint32_t kInfinity = 0x7f800000u;
  constexpr float kSmallest = 1e-30f;  // below, 127 / magnitude would overflow
  x += begin * kActivationGroup;
  for (int64_t g = begin; g < end; ++g, x += kActivationGroup) {
    const uint32_t bits = largest_magnitude(x);
    const float magnitude = std::bit_cast<float>(bits);
    const bool is_finite = bits < kInfinity;
    int8_t group[kActivationGroup] = {};
    int32_t group_sums[2] = {};
    float scale = is_finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    if (is_finite && magnitude >= kSmallest) {
      scale = magnitude / 127.0f;
      quantize_32(x, 127.0f / magnitude, group, group_sums);
    }
    scales[g * num_rows + n] = scale;
    for (int64_t half = 0; half < 2; ++half) sums[(2 * g + half) * num_rows + n] = group_sums[half];
    for (int64_t quad = 0; quad < kActivationGroup / 4; ++quad) {
      std::memcpy(codes + 4 * ((g * (kActivationGroup / 4) + quad) * num_rows + n), group + 4 * quad, 4);
    }
  }
}

}  // namespace quantized

// scale = largest magnitude of 32 / 127. A group that holds NaN or infinity gets a NaN scale, so that the outputs show it.
void prepare_quantized(PreparedRows& rows, const Range& of_rows, const Range& of_inputs) {
  const int64_t width = rows.in_features;
  for (int64_t panel = 0; panel < of_rows.end;) {
    const int64_t count = quantized::next_panel(rows.num_rows - panel);
    for (int64_t row = std::max(panel, of_rows.begin); row < std::min(panel + count, of_rows.end); ++row) {
      quantized::prepare_row(rows.x + row * rows.x_stride, of_inputs.begin / quantized::kActivationGroup,
                             of_inputs.end / quantized::kActivationGroup, row - panel, count,
                             rows.codes + panel * width, rows.scales + panel * (width / 32),
                             rows.sums + panel * (width / 16));
    }
    panel += count;
  }
}

void linear_quantized(const PackedWeight& w, const PreparedRows& x, const float* bias, float* y, int64_t y_stride,
                      bool accumulate, const Range& of_rows, const Range& of_tiles) {
  using quantized::Format;
  const quantized::Output output{bias, y, y_stride, accumulate, w.out_features};
  const auto run = [&]<class F>(F) { quantized::linear<F>(w, x, output, of_rows, of_tiles); };
  const bool is_f16 = w.scale_kind == ScaleKind::f16;
  switch (w.kind) {
    case WeightKind::q4:
      if (!w.has_minimum) return run(Format<WeightKind::q4, ScaleKind::f16, false>{});
      if (is_f16) return run(Format<WeightKind::q4, ScaleKind::f16, true>{});
      return run(Format<WeightKind::q4, ScaleKind::block, true>{});
    case WeightKind::q5:
      if (!w.has_minimum) return run(Format<WeightKind::q5, ScaleKind::f16, false>{});
      if (is_f16) return run(Format<WeightKind::q5, ScaleKind::f16, true>{});
      return run(Format<WeightKind::q5, ScaleKind::block, true>{});
    case WeightKind::q6:
      return run(Format<WeightKind::q6, ScaleKind::block, false>{});
    case WeightKind::q8:
      return run(Format<WeightKind::q8, ScaleKind::f16, false>{});
    default:
      return;  // float kinds have kernels of their own
  }
}

}  // namespace
}  // namespace inglenook

#include "embed_quantized.inl"
