#include "simd_avx512.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels.h"
#include "vector_math.h"

#include "attention_operands.inl"
#include "attention_scores.inl"
#include "attention_softmax.inl"
#include "attention_values.inl"
#include "attention_cache.inl"
#include "attention.inl"
#include "elementwise.inl"
#include "linear_float.inl"
#include "linear_quantized.inl"

#include "kernels.inl"

namespace inglenook {

const KernelTable& avx512_table() {
  static constexpr KernelTable table = make_table("avx512");
  return table;
}

}  // namespace inglenook
