#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.h"
#include "packing.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Array = nb::ndarray<nb::numpy, float>;

// An array that owns its memory.
Array new_array(std::initializer_list<size_t> shape) {
  size_t size = 1;
  for (const size_t extent : shape) size *= extent;
  float* data = new float[size]();
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return Array(data, shape, owner);
}

PackedWeight pack(WeightStore& store, const Bytes& data, const std::string& encoding, const std::string& format,
                  int64_t out_features, int64_t in_features) {
  const Encoding from = parse_encoding(encoding);
  const WeightKind kind = parse_weight_kind(format);
  const nb::gil_scoped_release release;
  return store.pack(from, kind, out_features, in_features, data.data(), data.size());
}

Array unpack_array(const PackedWeight& w) {
  Array out = new_array({static_cast<size_t>(w.out_features), static_cast<size_t>(w.in_features)});
  unpack(w, out.data());
  return out;
}

const KernelTable& table_of(const std::string& isa) {
  for (const Isa candidate : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (isa_available(candidate) && isa == kernel_table(candidate).name) return kernel_table(candidate);
  }
  throw std::invalid_argument("no such instruction set: " + isa);
}

// Activations in every form that some kind of weight may ask for.
struct Activations {
  std::vector<uint16_t> bf16;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  PreparedRows rows;

  explicit Activations(const Matrix& x) {
    const size_t num_rows = x.shape(0);
    const size_t width = x.shape(1);
    bf16.resize(num_rows * (width + 1));
    codes.resize(num_rows * width);
    scales.resize(num_rows * (width / 32 + 1));
    sums.resize(num_rows * (width / 16 + 1));
    rows.x = x.data();
    rows.x_stride = rows.in_features = static_cast<int64_t>(width);
    rows.num_rows = static_cast<int64_t>(num_rows);
    rows.bf16 = bf16.data();
    rows.codes = codes.data();
    rows.scales = scales.data();
    rows.sums = sums.data();
  }
};

Array linear(const PackedWeight& w, const Matrix& x, const std::optional<Vector>& bias, const std::optional<Matrix>& y,
             const std::string& isa) {
  const size_t num_rows = x.shape(0);
  const size_t width = static_cast<size_t>(w.out_features);
  if (static_cast<int64_t>(x.shape(1)) != w.in_features) throw std::invalid_argument("x has another width");
  if (bias && bias->size() != width) throw std::invalid_argument("bias has another width");
  if (y && (y->shape(0) != num_rows || y->shape(1) != width)) throw std::invalid_argument("y has another shape");
  const KernelTable& table = table_of(isa);
  Activations activations(x);
  Array out = new_array({num_rows, width});
  if (y) std::copy_n(y->data(), num_rows * width, out.data());
  const Range all{0, static_cast<int64_t>(num_rows)};
  table.prepare(w.kind, activations.rows, all, {0, w.in_features});
  table.linear(w, activations.rows, bias ? bias->data() : nullptr, out.data(), w.out_features, y.has_value(), all,
               {0, w.num_tiles});
  return out;
}

Array embed_row(const PackedWeight& w, int64_t index, const std::string& isa) {
  if (index < 0 || index >= w.out_features) throw std::out_of_range("no such row");
  Array out = new_array({static_cast<size_t>(w.in_features)});
  table_of(isa).embed_row(w, index, out.data());
  return out;
}

}  // namespace

void bind_packing(nb::module_& m) {
  nb::class_<PackedWeight>(m, "PackedWeight", "A matrix as the kernels stream it; its bytes are its store's.")
      .def_prop_ro("shape", [](const PackedWeight& w) { return nb::make_tuple(w.out_features, w.in_features); })
      .def_prop_ro("format", [](const PackedWeight& w) { return weight_kind_name(w.kind); })
      .def_prop_ro("nbytes", [](const PackedWeight& w) { return packed_bytes(w); })
      .def("unpack", &unpack_array, "float32 [out_features, in_features], what the kernels multiply with")
      .def("linear", &linear, "x"_a, "bias"_a = nb::none(), "y"_a = nb::none(), "isa"_a,
           "x @ self.T + bias (+ y), by the kernels of one instruction set, on one thread; for tests.")
      .def("embed_row", &embed_row, "index"_a, "isa"_a);
  nb::class_<WeightStore>(m, "WeightStore", "Owns packed weights.")
      .def(nb::init<int>(), "threads"_a)
      .def("pack", &pack, "data"_a, "encoding"_a, "format"_a, "out_features"_a, "in_features"_a,
           nb::keep_alive<0, 1>(),
           "Pack a matrix. ValueError: a size is wrong, the encoding can't be kept in this format, or a value doesn't "
           "fit it.")
      .def_prop_ro("nbytes", &WeightStore::used_bytes);
}

}  // namespace inglenook
