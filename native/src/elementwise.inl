// Operations on rows: norm, rope, activations, sums. Included by each isa_*.cpp after its simd_*.h.
// Widths need not be multiples of 16: the last lanes of a row are loaded and stored by count.

namespace inglenook {
namespace {

// out[i] = function(i-th sixteen of the inputs), over one row.
template <class Function>
inline void map_row(float* out, int64_t width, Function function) {
  int64_t i = 0;
  for (; i + 16 <= width; i += 16) store(out + i, function([i](const float* p) { return load(p + i); }));
  if (const int rest = static_cast<int>(width - i); rest > 0)
    store_first(out + i, function([i, rest](const float* p) { return load_first(p + i, rest); }), rest);
}

// Four sums side by side, then together; add(a, sum) takes sixteen values in.
template <class Add>
inline float sum_row(const float* in, int64_t width, Add add) {
  Vec sums[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  int64_t i = 0;
  for (; i + 64 <= width; i += 64)
    for (int part = 0; part < 4; ++part) sums[part] = add(load(in + i + 16 * part), sums[part]);
  for (; i < width; i += 16) sums[0] = add(load_first(in + i, static_cast<int>(width - i < 16 ? width - i : 16)), sums[0]);
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void rms_norm(const float* x, int64_t x_stride, const float* weight, float eps, int64_t width, float* out,
              int64_t out_stride, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * x_stride;
    const float sum = sum_row(in, width, [](Vec a, Vec sum) { return fma(a, a, sum); });
    const Vec factor = splat(1.0f / std::sqrt(sum / static_cast<float>(width) + eps));
    map_row(out + row * out_stride, width, [&](auto at) { return at(in) * factor * at(weight); });
  }
}

// The deviations from the mean pass through `out`, so that its last lanes beyond the width count as nothing.
void layer_norm(const float* x, int64_t x_stride, const float* weight, const float* bias, float eps, int64_t width,
                float* out, int64_t out_stride, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * x_stride;
    float* to = out + row * out_stride;
    const Vec mean = splat(sum_row(in, width, [](Vec a, Vec sum) { return a + sum; }) / static_cast<float>(width));
    map_row(to, width, [&](auto at) { return at(in) - mean; });
    const float squares = sum_row(to, width, [](Vec a, Vec sum) { return fma(a, a, sum); });
    const Vec factor = splat(1.0f / std::sqrt(squares / static_cast<float>(width) + eps));
    if (bias != nullptr)
      map_row(to, width, [&](auto at) { return fma(at(to) * factor, at(weight), at(bias)); });
    else
      map_row(to, width, [&](auto at) { return at(to) * factor * at(weight); });
  }
}

inline Vec activate(Activation activation, Vec x) {
  const Vec half = splat(0.5f), one = splat(1.0f);
  switch (activation) {
    case Activation::silu:
      return x / (one + exp(splat(0.0f) - x));
    case Activation::gelu:
      return half * x * (one + erf(x * splat(0.70710678f)));
    case Activation::gelu_tanh:
      return half * x * (one + tanh(splat(0.79788456f) * fma(splat(0.044715f) * x * x, x, x)));
    case Activation::relu:
      return max(splat(0.0f), x);
    case Activation::tanh:
      return tanh(x);
  }
  return x;
}

void act_mul(Activation activation, const float* gate, int64_t gate_stride, const float* up, int64_t up_stride,
             int64_t width, float* out, int64_t out_stride, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* g = gate + row * gate_stride;
    const float* u = up + row * up_stride;
    map_row(out + row * out_stride, width, [&](auto at) { return activate(activation, at(g)) * at(u); });
  }
}

void act(Activation activation, const float* x, int64_t x_stride, int64_t width, float* out, int64_t out_stride,
         int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* a = x + row * x_stride;
    map_row(out + row * out_stride, width, [&](auto at) { return activate(activation, at(a)); });
  }
}

void add(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t width, float* out,
         int64_t out_stride, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* a = x + row * x_stride;
    const float* b = y + row * y_stride;
    map_row(out + row * out_stride, width, [&](auto at) { return at(a) + at(b); });
  }
}

void scale(const float* x, int64_t x_stride, float factor, int64_t width, float* out, int64_t out_stride,
           int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* a = x + row * x_stride;
    map_row(out + row * out_stride, width, [&](auto at) { return at(a) * splat(factor); });
  }
}

void softcap(const float* x, int64_t x_stride, float cap, int64_t width, float* out, int64_t out_stride,
             int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* a = x + row * x_stride;
    map_row(out + row * out_stride, width, [&](auto at) { return splat(cap) * tanh(at(a) / splat(cap)); });
  }
}

void pool(PoolMode mode, const float* x, int64_t x_stride, int64_t num_rows, int64_t width, float* out) {
  if (mode == PoolMode::cls) {
    std::memcpy(out, x, sizeof(float) * width);
    return;
  }
  const float number = static_cast<float>(num_rows);
  const Vec divisor = splat(mode == PoolMode::mean ? number : std::sqrt(number));
  for (int64_t i = 0; i < width; i += 16) {
    const int count = static_cast<int>(width - i < 16 ? width - i : 16);
    Vec total = load_first(x + i, count);
    for (int64_t row = 1; row < num_rows; ++row) {
      const Vec a = load_first(x + row * x_stride + i, count);
      total = mode == PoolMode::max ? max(total, a) : total + a;
    }
    store_first(out + i, mode == PoolMode::max ? total : total / divisor, count);
  }
}

inline void rotate_half(float* head, int64_t num_pairs, const float* cos, const float* sin) {
  float* upper = head + num_pairs;
  int64_t i = 0;
  for (; i + 16 <= num_pairs; i += 16) {
    const Vec a = load(head + i), b = load(upper + i), c = load(cos + i), s = load(sin + i);
    store(head + i, a * c - b * s);
    store(upper + i, b * c + a * s);
  }
  for (; i < num_pairs; ++i) {
    const float a = head[i], b = upper[i];
    head[i] = a * cos[i] - b * sin[i];
    upper[i] = b * cos[i] + a * sin[i];
  }
}

inline void rotate_interleaved(float* head, int64_t num_pairs, const float* cos, const float* sin) {
  for (int64_t i = 0; i < num_pairs; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * cos[i] - b * sin[i];
    head[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

void rope(float* x, int64_t x_stride, int64_t num_heads, int64_t head_dim, int64_t num_pairs, bool interleaved,
          const float* cos, const float* sin, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row)
    for (int64_t head = 0; head < num_heads; ++head) {
      float* at = x + row * x_stride + head * head_dim;
      if (interleaved)
        rotate_interleaved(at, num_pairs, cos + row * num_pairs, sin + row * num_pairs);
      else
        rotate_half(at, num_pairs, cos + row * num_pairs, sin + row * num_pairs);
    }
}

}  // namespace
}  // namespace inglenook
