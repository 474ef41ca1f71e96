// Marks a function whose loops the compiler vectorises for AVX-512, for AVX2 and for any processor; the loader picks.
// None of them adds up across lanes in an order that depends on the width, so that all versions give the same bits.
#pragma once

#include <cstddef>  // defines __GLIBC__ where that is the C library; others lack what the loader needs

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
#define INGLENOOK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define INGLENOOK_CLONES
#endif
