#include "simd_scalar.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.h"
#include "vector_math.h"

#include "attention.inl"
#include "elementwise.inl"
#include "linear_float.inl"
#include "linear_quantized.inl"

#include "kernels.inl"

namespace inglenook {

const KernelTable& scalar_table() {
  static constexpr KernelTable table = make_table("scalar");
  return table;
}

}  // namespace inglenook
