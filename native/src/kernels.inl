// The kernel table of one instruction set. Included last by each isa_*.cpp.

namespace inglenook {
namespace {

void prepare(WeightKind kind, PreparedRows& rows, const Range& of_rows, const Range& of_inputs) {
  switch (kind) {
    case WeightKind::f32:
    case WeightKind::f16:
      return;
    case WeightKind::bf16:
      return prepare_bf16(rows, of_rows, of_inputs);
    default:
      return prepare_quantized(rows, of_rows, of_inputs);
  }
}

void linear(const PackedWeight& w, const PreparedRows& x, const float* bias, float* y, int64_t y_stride,
            bool accumulate, const Range& of_rows, const Range& of_tiles) {
  const LinearOutput out{bias, y, y_stride, w.out_features, accumulate};
  switch (w.kind) {
    case WeightKind::f32:
      return linear_float<F32Weight>(w, x, out, of_rows, of_tiles);
    case WeightKind::f16:
      return linear_float<F16Weight>(w, x, out, of_rows, of_tiles);
    case WeightKind::bf16:
      return linear_float<Bf16Weight>(w, x, out, of_rows, of_tiles);
    default:
      return linear_quantized(w, x, bias, y, y_stride, accumulate, of_rows, of_tiles);
  }
}

void embed_row(const PackedWeight& w, int64_t index, float* out) {
  w.group_size == 0 ? embed_row_float(w, index, out) : embed_row_quantized(w, index, out);
}

constexpr KernelTable make_table(const char* name) {
  return {name, prepare, linear, embed_row, rms_norm, layer_norm, rope, act_mul, act, add, scale, softcap, pool,
          store_kv, attend, merge_partitions};
}

}  // namespace
}  // namespace inglenook
