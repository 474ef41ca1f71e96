// What this machine can deliver at most: the limits against which the benchmark measures the engine.
#pragma once

#include <cstddef>

#include "kernels.h"

namespace inglenook {

// GB/s (1e9) of reading a buffer of `bytes`, split over `threads`; the best of the passes made in `seconds`.
double probe_read(int threads, size_t bytes, double seconds);

// Multiply-adds of 8-bit integers held in registers, in 1e9 operations/s (two per multiply-add), with the widest
// dot product of the instruction set: vpdpbusd (AVX-512 VNNI), vpmaddubsw + vpmaddwd (AVX2), plain code (scalar).
double probe_int8(int threads, Isa isa, double seconds);

// The same for 16-bit floats: vdpbf16ps (AVX-512 BF16). Elsewhere of 32-bit floats, with which bf16 is multiplied there.
double probe_bf16(int threads, Isa isa, double seconds);

}  // namespace inglenook
