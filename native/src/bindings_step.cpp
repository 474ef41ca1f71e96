#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <vector>

#include "bindings.h"
#include "step_layout.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace inglenook {

namespace {

using IntMatrix = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ints = std::vector<int32_t>;

// One array with all of the step's one after another, and the sizes that tell them apart: (array, selected, blocks).
nb::tuple lay_out(const Ints& token_ids, const Ints& rows, const Ints& starts, const Ints& counts,
                  const Ints& num_selected, const IntMatrix& block_tables, int64_t block_size) {
  if (block_size <= 0) throw std::invalid_argument("a block holds at least one token");
  const StepChunks chunks{rows, starts, counts, num_selected};
  const int64_t blocks_per_row = static_cast<int64_t>(block_tables.shape(1));
  const StepSizes sizes = step_sizes(chunks, static_cast<int64_t>(token_ids.size()),
                                     static_cast<int64_t>(block_tables.shape(0)), blocks_per_row, block_size);
  int32_t* out = new int32_t[static_cast<size_t>(sizes.total())];
  nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
  lay_out_step(chunks, sizes, token_ids.data(), block_tables.data(), blocks_per_row, block_size, out);
  nb::ndarray<nb::numpy, int32_t, nb::ndim<1>> array(out, {static_cast<size_t>(sizes.total())}, owner);
  return nb::make_tuple(array, sizes.num_selected, sizes.max_blocks);
}

}  // namespace

void bind_step(nb::module_& m) {
  m.def("lay_out_step", &lay_out, "token_ids"_a, "rows"_a, "starts"_a, "counts"_a, "num_selected"_a,
        "block_tables"_a.noconvert(), "block_size"_a);
}

}  // namespace inglenook
