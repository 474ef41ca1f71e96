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
#include <limits>
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

template <WeightKind kKindValue, ScaleKind kScaleKindValue, bool kHasMinimumValue>
struct Format {
  static constexpr WeightKind kKind = kKindValue;
  static constexpr ScaleKind kScaleKind = kScaleKindValue;
  static constexpr bool kHasMinimum = kHasMinimumValue;
  static constexpr int kBits = kKind == WeightKind::q4 ? 4 : kKind == WeightKind::q5 ? 5 : kKind == WeightKind::q6 ? 6 : 8;
  static constexpr int kGroup = kKind == WeightKind::q6 ? 16 : 32;
  static constexpr int kLines = kGroup / 4;
  static constexpr int kNibbleLines = kLines / 2;
  static constexpr int64_t kCodeBytes =
      kLineBytes * (kBits == 8 ? kLines : kBits == 4 ? kNibbleLines : kNibbleLines + 1);
  static constexpr int kScaleBytes = kScaleKind == ScaleKind::f16 ? 2 : 4;
  static constexpr int64_t kRecordBytes = kCodeBytes + kTileRows * kScaleBytes * (kHasMinimum ? 2 : 1);
  // An expanded record: a line per four inputs, scales and minimums as float32.
  static constexpr int64_t kExpandedBytes = kLineBytes * (kLines + 2);
  static constexpr bool kTakesOffZeroPoint = !kHasMinimum && !(kBits == 8 && kSignedEight);
};

// --- what a row's groups are multiplied with, beside the codes ---------------------------------------------------

// The weight's groups may be half as long as the activations': then every scale stands twice.
template <class F, int kGroups>
struct RowFactors {
  float scale[kGroups];
  float weighted_sum[F::kHasMinimum ? kGroups : 1];
  int32_t initial[F::kTakesOffZeroPoint ? kGroups : 1];

  void fill(const PreparedRows& x, int64_t row, int64_t group_begin, int64_t num_groups, int32_t zero_point) {
    const float* scales = x.scales + row * (x.in_features / kActivationGroup);
    const int32_t* sums = x.sums + row * (x.in_features / 16);
    if constexpr (F::kGroup == 16) {
      for (int64_t g = 0; g < num_groups; ++g) {
        scale[g] = scales[(group_begin + g) / 2];
        initial[g] = -zero_point * sums[group_begin + g];
      }
    } else {
      for (int64_t g = 0; g < num_groups; ++g) {
        scale[g] = scales[group_begin + g];
        const int32_t sum = sums[2 * (group_begin + g)] + sums[2 * (group_begin + g) + 1];
        if constexpr (F::kHasMinimum) weighted_sum[g] = scale[g] * static_cast<float>(sum);
        if constexpr (F::kTakesOffZeroPoint) initial[g] = -zero_point * sum;
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

template <class F, class Use>
inline __attribute__((always_inline)) void for_each_packed_line(const uint8_t* record, Use use) {
  for_each_line<F>(record, std::make_integer_sequence<int, F::kNibbleLines>{}, use);
}

template <class F>
inline Floats load_factor(const uint8_t* p) {
  if constexpr (F::kScaleKind == ScaleKind::f16) return load_half(p);
  return load(reinterpret_cast<const float*>(p));
}

// One register of outputs: where its records begin and its first row in the tile.
struct Column {
  const uint8_t* record;
  int lane;
};

// How multiply() reads a group: as it is packed, or as expand() has left it. `lines` calls use(line, codes of every
// column) for each line of the group that begins `offset` bytes behind the columns' records.
template <class F>
struct PackedSource {
  using Format = F;
  static constexpr int64_t kStride = F::kRecordBytes;
  static constexpr int kGroups = 512;
  static Floats scale(const uint8_t* record, int lane) {
    return load_factor<F>(record + F::kCodeBytes + lane * F::kScaleBytes);
  }
  static Floats minimum(const uint8_t* record, int lane) {
    return load_factor<F>(record + F::kCodeBytes + (kTileRows + lane) * F::kScaleBytes);
  }
  template <class Use>
  static inline __attribute__((always_inline)) void lines(const Column (&columns)[1], int64_t offset, Use use) {
    for_each_packed_line<F>(columns[0].record + offset + 4 * columns[0].lane, [&](int line, const Bytes& codes)
                                __attribute__((always_inline)) {
      const Bytes of_columns[1] = {codes};
      use(line, of_columns);
    });
  }
};

template <class F>
struct ExpandedSource {
  using Format = F;
  static constexpr int64_t kStride = F::kExpandedBytes;
  static constexpr int kGroups = 512 / F::kGroup;  // so that the groups of two tiles stay in the first-level cache
  static Floats scale(const uint8_t* record, int lane) {
    return load(reinterpret_cast<const float*>(record + F::kLines * kLineBytes) + lane);
  }
  static Floats minimum(const uint8_t* record, int lane) {
    return load(reinterpret_cast<const float*>(record + (F::kLines + 1) * kLineBytes) + lane);
  }
  template <int kVectors, class Use>
  static inline __attribute__((always_inline)) void lines(const Column (&columns)[kVectors], int64_t offset, Use use) {
#pragma GCC unroll 8
    for (int line = 0; line < F::kLines; ++line) {
      Bytes of_columns[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        of_columns[v] = load_bytes(columns[v].record + offset + line * kLineBytes + 4 * columns[v].lane);
      }
      use(line, of_columns);
    }
  }
};

template <class F>
void expand(const uint8_t* packed, int64_t num_groups, uint8_t* expanded) {
  for (int64_t g = 0; g < num_groups; ++g, packed += F::kRecordBytes, expanded += F::kExpandedBytes) {
    for (int lane = 0; lane < kTileRows; lane += kLanes) {
      for_each_packed_line<F>(packed + 4 * lane, [&](int line, const Bytes& codes) {
        store_bytes(expanded + line * kLineBytes + 4 * lane, codes);
      });
      float* factors = reinterpret_cast<float*>(expanded + F::kLines * kLineBytes) + lane;
      store(factors, PackedSource<F>::scale(packed, lane));
      if constexpr (F::kHasMinimum) store(factors + kTileRows, PackedSource<F>::minimum(packed, lane));
    }
  }
}

// --- the product of some registers of outputs with some rows ---------------------------------------------------------

template <class Source, int kVectors, int kRows>
inline void multiply(const Column (&columns)[kVectors], const int8_t* const (&codes)[kRows],
                     const RowFactors<typename Source::Format, Source::kGroups>* factors, int64_t num_groups,
                     Floats (&sums)[kVectors][kRows]) {
  using F = typename Source::Format;
  for (int64_t g = 0; g < num_groups; ++g) {
    Dot<F::kBits> dots[kVectors][kRows];
    const int64_t record = g * Source::kStride;
    const int64_t input = g * F::kGroup;
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 12
      for (int n = 0; n < kRows; ++n) {
        if constexpr (F::kTakesOffZeroPoint) {
          dots[v][n].start(factors[n].initial[g]);
        } else {
          dots[v][n].start(0);
        }
      }
    }
    int count = 0;  // numbers the lines as they come
    Source::lines(columns, record, [&](int line, const Bytes(&bytes)[kVectors]) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const Line<F::kBits> codes_of_line(bytes[v]);
#pragma GCC unroll 12
        for (int n = 0; n < kRows; ++n) {
          dots[v][n].add(count, codes_of_line, load_quad(codes[n] + input + 4 * line));
        }
      }
      ++count;
    });
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Floats scale = Source::scale(columns[v].record + record, columns[v].lane);
#pragma GCC unroll 12
      for (int n = 0; n < kRows; ++n) {
        const Floats factor = quantized::multiply(scale, splat(factors[n].scale[g]));
        sums[v][n] = multiply_add(to_floats(dots[v][n].result()), factor, sums[v][n]);
      }
      if constexpr (F::kHasMinimum) {
        const Floats minimum = Source::minimum(columns[v].record + record, columns[v].lane);
#pragma GCC unroll 12
        for (int n = 0; n < kRows; ++n) {
          sums[v][n] = multiply_add(minimum, splat(factors[n].weighted_sum[g]), sums[v][n]);
        }
      }
    }
  }
}

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

// --- few rows: packed weights stream by once -----------------------------------------------------------------------

template <class F, int kRows>
void linear_direct(const PackedWeight& w, const PreparedRows& x, int64_t row_begin, int64_t num_rows,
                   const Output& output, int64_t tile_begin, int64_t tile_end) {
  using Source = PackedSource<F>;
  const int64_t num_groups = w.in_features / F::kGroup;
  RowFactors<F, Source::kGroups> factors[kRows];
  const int8_t* codes[kRows];
  int64_t filled_at = -1;
  for (int64_t column = tile_begin * kVectorsPerTile; column < tile_end * kVectorsPerTile; column += kDirectVectors) {
    Floats sums[kDirectVectors][kRows];
    for (auto& of_vector : sums) std::fill_n(of_vector, kRows, zero());
    for (int64_t group = 0; group < num_groups; group += Source::kGroups) {
      const int64_t count = std::min<int64_t>(Source::kGroups, num_groups - group);
      for (int n = 0; n < kRows; ++n) {
        // Where fewer rows are left than this version has, the last one is computed several times.
        const int64_t row = row_begin + std::min<int64_t>(n, num_rows - 1);
        codes[n] = x.codes + row * x.in_features + group * F::kGroup;
        if (filled_at != group) factors[n].fill(x, row, group, count, w.zero_point);
      }
      filled_at = group;
      Column columns[kDirectVectors];
      for (int v = 0; v < kDirectVectors; ++v) {
        const uint8_t* tile = w.data + (column + v) / kVectorsPerTile * static_cast<int64_t>(w.tile_bytes);
        columns[v] = {tile + group * F::kRecordBytes, static_cast<int>((column + v) % kVectorsPerTile) * kLanes};
      }
      multiply<Source, kDirectVectors, kRows>(columns, codes, factors, count, sums);
    }
    for (int v = 0; v < kDirectVectors; ++v) {
      for (int64_t n = 0; n < std::min<int64_t>(kRows, num_rows); ++n) {
        finish(output, row_begin + n, (column + v) * kLanes, sums[v][n]);
      }
    }
  }
}

// --- many rows: a piece of some tiles is unpacked once for a block of rows ----------------------------------------------

constexpr int64_t kRowBlock = 96;  // rows whose partial sums are kept beside the expanded piece

template <class F, int kVectors, int kRows>
void multiply_block(const uint8_t* expanded, int64_t column, const PreparedRows& x, int64_t row, int64_t num_rows,
                    int64_t group, int64_t num_groups, int32_t zero_point, float* partial, int64_t partial_stride) {
  using Source = ExpandedSource<F>;
  RowFactors<F, Source::kGroups> factors[kRows];
  const int8_t* codes[kRows];
  for (int n = 0; n < kRows; ++n) {
    const int64_t source_row = row + std::min<int64_t>(n, num_rows - 1);
    codes[n] = x.codes + source_row * x.in_features + group * F::kGroup;
    factors[n].fill(x, source_row, group, num_groups, zero_point);
  }
  const int64_t stored_rows = std::min<int64_t>(kRows, num_rows);
  Column columns[kVectors];
  Floats sums[kVectors][kRows];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t tile = (column + v) / kVectorsPerTile;
    columns[v] = {expanded + tile * Source::kGroups * F::kExpandedBytes,
                  static_cast<int>((column + v) % kVectorsPerTile) * kLanes};
    for (int n = 0; n < kRows; ++n) {
      sums[v][n] = n < stored_rows ? load(partial + n * partial_stride + (column + v) * kLanes) : zero();
    }
  }
  multiply<Source, kVectors, kRows>(columns, codes, factors, num_groups, sums);
  for (int v = 0; v < kVectors; ++v) {
    for (int64_t n = 0; n < stored_rows; ++n) {
      store(partial + n * partial_stride + (column + v) * kLanes, sums[v][n]);
    }
  }
}

template <class F, int kVectors>
void multiply_rows(const uint8_t* expanded, int64_t column, const PreparedRows& x, int64_t row, int64_t num_rows,
                   int64_t group, int64_t num_groups, int32_t zero_point, float* partial, int64_t partial_stride) {
  while (num_rows > 0) {
    int64_t step = kExpandedRows;
    if (num_rows >= kExpandedRows) {
      multiply_block<F, kVectors, kExpandedRows>(expanded, column, x, row, num_rows, group, num_groups, zero_point,
                                                 partial, partial_stride);
    } else {
      step = std::min<int64_t>(2, num_rows);
      multiply_block<F, kVectors, 2>(expanded, column, x, row, num_rows, group, num_groups, zero_point, partial,
                                     partial_stride);
    }
    num_rows -= step;
    row += step;
    partial += step * partial_stride;
  }
}

template <class F>
void linear_expanded(const PackedWeight& w, const PreparedRows& x, int64_t num_rows, const Output& output,
                     int64_t tile_begin, int64_t tile_end) {
  using Source = ExpandedSource<F>;
  constexpr int64_t kStride = kExpandedTiles * kTileRows;
  alignas(64) uint8_t expanded[kExpandedTiles * Source::kGroups * F::kExpandedBytes];
  alignas(64) float partial[kRowBlock * kStride];
  const int64_t num_groups = w.in_features / F::kGroup;
  for (int64_t tile = tile_begin; tile < tile_end; tile += kExpandedTiles) {
    const int64_t num_tiles = std::min<int64_t>(kExpandedTiles, tile_end - tile);
    const int64_t num_columns = num_tiles * kVectorsPerTile;
    for (int64_t block = 0; block < num_rows; block += kRowBlock) {
      const int64_t block_rows = std::min(kRowBlock, num_rows - block);
      std::fill_n(partial, block_rows * kStride, 0.0f);
      for (int64_t group = 0; group < num_groups; group += Source::kGroups) {
        const int64_t count = std::min<int64_t>(Source::kGroups, num_groups - group);
        for (int64_t t = 0; t < num_tiles; ++t) {
          const uint8_t* packed = w.data + (tile + t) * static_cast<int64_t>(w.tile_bytes) + group * F::kRecordBytes;
          expand<F>(packed, count, expanded + t * Source::kGroups * F::kExpandedBytes);
        }
        int64_t column = 0;
        for (; column + kExpandedVectors <= num_columns; column += kExpandedVectors) {
          multiply_rows<F, kExpandedVectors>(expanded, column, x, block, block_rows, group, count, w.zero_point,
                                             partial, kStride);
        }
        for (; column < num_columns; ++column) {
          multiply_rows<F, 1>(expanded, column, x, block, block_rows, group, count, w.zero_point, partial, kStride);
        }
      }
      for (int64_t n = 0; n < block_rows; ++n) {
        for (int64_t column = 0; column < num_columns; ++column) {
          finish(output, block + n, tile * kTileRows + column * kLanes, load(partial + n * kStride + column * kLanes));
        }
      }
    }
  }
}

template <class F>
void linear(const PackedWeight& w, const PreparedRows& x, int64_t num_rows, const Output& output, int64_t tile_begin,
            int64_t tile_end) {
  const auto direct = [&]<int kRows>(std::integral_constant<int, kRows>) {
    linear_direct<F, kRows>(w, x, 0, num_rows, output, tile_begin, tile_end);
  };
  if (num_rows > kMaxDirectRows) {
    linear_expanded<F>(w, x, num_rows, output, tile_begin, tile_end);
    return;
  }
  if (num_rows == 1) return direct(std::integral_constant<int, 1>{});
  if constexpr (kMaxDirectRows >= 4) {
    if (num_rows == 2) return direct(std::integral_constant<int, 2>{});
    if (num_rows == 3) return direct(std::integral_constant<int, 3>{});
    if (num_rows == 4) return direct(std::integral_constant<int, 4>{});
  }
  if constexpr (kMaxDirectRows >= 12) {
    if (num_rows <= 6) return direct(std::integral_constant<int, 6>{});
    if (num_rows <= 8) return direct(std::integral_constant<int, 8>{});
    if (num_rows <= 10) return direct(std::integral_constant<int, 10>{});
    return direct(std::integral_constant<int, 12>{});
  }
}

}  // namespace quantized

// Codes, scales and sums of rows [row_begin, row_end): scale = largest magnitude of 32 / 127. A group that holds NaN or
// infinity gets a NaN scale, so that the outputs show it.
void prepare_quantized(PreparedRows& rows, int64_t row_begin, int64_t row_end) {
  constexpr uint32_t kInfinity = 0x7f800000u;
  constexpr float kSmallest = 1e-30f;  // below, 127 / magnitude would overflow
  const int64_t num_groups = rows.in_features / quantized::kActivationGroup;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* x = rows.x + row * rows.x_stride;
    int8_t* codes = rows.codes + row * rows.in_features;
    for (int64_t g = 0; g < num_groups; ++g, x += 32, codes += 32) {
      const uint32_t bits = quantized::largest_magnitude(x);
      const float magnitude = std::bit_cast<float>(bits);
      const bool is_finite = bits < kInfinity;
      float& scale = rows.scales[row * num_groups + g];
      int32_t* sums = rows.sums + 2 * (row * num_groups + g);
      if (is_finite && magnitude >= kSmallest) {
        scale = magnitude / 127.0f;
        quantized::quantize_32(x, 127.0f / magnitude, codes, sums);
      } else {
        scale = is_finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
        std::fill_n(codes, 32, int8_t{0});
        sums[0] = sums[1] = 0;
      }
    }
  }
}

void linear_quantized(const PackedWeight& w, const PreparedRows& x, int64_t num_rows, const float* bias, float* y,
                      int64_t y_stride, bool accumulate, int64_t tile_begin, int64_t tile_end) {
  using quantized::Format;
  const quantized::Output output{bias, y, y_stride, accumulate, w.out_features};
  const auto run = [&]<class F>(F) { quantized::linear<F>(w, x, num_rows, output, tile_begin, tile_end); };
  const bool is_f16 = w.scale_kind == ScaleKind::f16;
  switch (w.kind) {
    case WeightKind::q4:
      if (!w.has_minimum) return run(Format<WeightKind::q4, ScaleKind::f16, false>{});
      if (is_f16) return run(Format<WeightKind::q4, ScaleKind::f16, true>{});
      return run(Format<WeightKind::q4, ScaleKind::f32, true>{});
    case WeightKind::q5:
      if (!w.has_minimum) return run(Format<WeightKind::q5, ScaleKind::f16, false>{});
      if (is_f16) return run(Format<WeightKind::q5, ScaleKind::f16, true>{});
      return run(Format<WeightKind::q5, ScaleKind::f32, true>{});
    case WeightKind::q6:
      return run(Format<WeightKind::q6, ScaleKind::f32, false>{});
    case WeightKind::q8:
      return run(Format<WeightKind::q8, ScaleKind::f16, false>{});
    default:
      return;  // float kinds have kernels of their own
  }
}

}  // namespace
}  // namespace inglenook

#include "embed_quantized.inl"
