// The kernel table of one instruction set. Included last by each isa_*.cpp.

namespace inglenook {
namespace {

void prepare(WeightKind kind, PreparedRows& rows, int64_t row_begin, int64_t row_end, int64_t input_begin,
             int64_t input_end) {
  switch (kind) {
    case WeightKind::f32:
    case WeightKind::f16:
      return;
    case WeightKind::bf16:
      return prepare_bf16(rows, row_begin, row_end, input_begin, input_end);
    default:
      return prepare_quantized(rows, row_begin, row_end, input_begin, input_end);
  }
}

void linear(const PackedWeight& w, const PreparedRows& x, int64_t num_rows, const float* bias, float* y,
            int64_t y_stride, bool accumulate, int64_t tile_begin, int64_t tile_end) {
  const LinearOutput out{bias, y, y_stride, w.out_features, accumulate};
  switch (w.kind) {
    case WeightKind::f32:
      return linear_float<F32Weight>(w, x, num_rows, out, tile_begin, tile_end);
    case WeightKind::f16:
      return linear_float<F16Weight>(w, x, num_rows, out, tile_begin, tile_end);
    case WeightKind::bf16:
      return linear_float<Bf16Weight>(w, x, num_rows, out, tile_begin, tile_end);
    default:
      return linear_quantized(w, x, num_rows, bias, y, y_stride, accumulate, tile_begin, tile_end);
  }
}

void embed_row(const PackedWeight& w, int64_t index, float* out) {
  w.group_size == 0 ? embed_row_float(w, index, out) : embed_row_quantized(w, index, out);
}

constexpr KernelTable make_table(const char* name) {
  return {name, prepare, linear, embed_row, rms_norm, rope, act_mul, add, scale, softcap, store_kv, attend,
          attend_partition, merge_partitions};
}

}  // namespace
}  // namespace inglenook
