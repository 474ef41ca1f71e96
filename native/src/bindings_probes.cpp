#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>

#include "bindings.h"
#include "probes.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

Isa parse_isa(const std::string& name) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (isa_available(isa) && name == kernel_table(isa).name) return isa;
  }
  throw std::invalid_argument("no such instruction set: " + name);
}

}  // namespace

void bind_probes(nb::module_& m) {
  m.def("probe_read", &probe_read, "threads"_a, "bytes"_a, "seconds"_a, nb::call_guard<nb::gil_scoped_release>(),
        "GB/s of reading a buffer of this size.");
  m.def(
      "probe_int8",
      [](int threads, const std::string& isa, double seconds) {
        const Isa parsed = parse_isa(isa);
        const nb::gil_scoped_release release;
        return probe_int8(threads, parsed, seconds);
      },
      "threads"_a, "isa"_a, "seconds"_a, "1e9 operations/s of 8-bit multiply-adds, two each.");
  m.def(
      "probe_bf16",
      [](int threads, const std::string& isa, double seconds) {
        const Isa parsed = parse_isa(isa);
        const nb::gil_scoped_release release;
        return probe_bf16(threads, parsed, seconds);
      },
      "threads"_a, "isa"_a, "seconds"_a, "1e9 operations/s of bf16 (AVX-512) or float32 multiply-adds, two each.");
}

}  // namespace inglenook
