// Which instruction sets this build has and this processor can run.
#include <stdexcept>

#include "kernels.h"

namespace inglenook {

const KernelTable& scalar_table();
#if defined(INGLENOOK_X86)
const KernelTable& avx2_table();
const KernelTable& avx512_table();
#endif

bool isa_available(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(INGLENOOK_X86)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (isa == Isa::avx2) return has_avx2;
  return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa best_isa() {
  if (isa_available(Isa::avx512)) return Isa::avx512;
  return isa_available(Isa::avx2) ? Isa::avx2 : Isa::scalar;
}

const KernelTable& kernel_table(Isa isa) {
  if (!isa_available(isa)) throw std::invalid_argument("This processor or build lacks the instruction set.");
#if defined(INGLENOOK_X86)
  if (isa == Isa::avx512) return avx512_table();
  if (isa == Isa::avx2) return avx2_table();
#endif
  return scalar_table();
}

}  // namespace inglenook
