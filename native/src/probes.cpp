#include "probes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "memory.h"
#include "parallel.h"

#if defined(INGLENOOK_X86)
#include <immintrin.h>
#endif

namespace inglenook {

namespace {

using Clock = std::chrono::steady_clock;

std::atomic<uint64_t> sink;  // results go here, so that no loop is optimised away

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The best rate of `work(thread)`, which does `amount` on each of `threads` threads, over passes for `seconds`.
template <class Work>
double best_rate(int threads, double amount, double seconds, const Work& work) {
  double best = 0;
  const auto begin = Clock::now();
  do {
    const auto pass = Clock::now();
    parallel_for(threads, threads, 1, [&](int64_t thread, int64_t) { work(thread); });
    best = std::max(best, amount * threads / seconds_since(pass));
  } while (seconds_since(begin) < seconds);
  return best;
}

// --- reading --------------------------------------------------------------------------------------------------

constexpr size_t kReadChunk = 64 * 64;

uint64_t read_plain(const uint8_t* data, size_t bytes) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < bytes; i += 64) {
    uint64_t line[8];
    std::memcpy(line, data + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] ^= line[j];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum ^= s;
  return sum;
}

#if defined(INGLENOOK_X86)
__attribute__((target("avx512f"))) uint64_t read_avx512(const uint8_t* data, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(reinterpret_cast<const char*>(data + i + 2048 + 64 * j), _MM_HINT_T0);
      sums[j] = _mm512_xor_si512(sums[j], _mm512_load_si512(data + i + 64 * j));
    }
  }
  const __m512i sum = _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}
#endif

// --- multiplying ----------------------------------------------------------------------------------------------

constexpr int kChains = 16;  // independent sums: enough to hide the latency of a multiply-add
constexpr int64_t kRounds = 1 << 19;

// Operations of one call, and a value that depends on all of them.
struct Computed {
  double operations;
  uint64_t value;
};

Computed int8_scalar() {
  int32_t sums[kChains] = {};
  int8_t a[kChains];
  for (int j = 0; j < kChains; ++j) a[j] = static_cast<int8_t>(j + 1);
  for (int64_t i = 0; i < kRounds; ++i) {
    const int8_t b = static_cast<int8_t>(i);
    for (int j = 0; j < kChains; ++j) sums[j] += a[j] * b;
  }
  uint64_t value = 0;
  for (const int32_t s : sums) value += static_cast<uint32_t>(s);
  return {2.0 * kChains * kRounds, value};
}

Computed float_scalar() {
  float sums[kChains] = {};
  for (int64_t i = 0; i < kRounds; ++i) {
    const float b = static_cast<float>(i & 7);
    for (int j = 0; j < kChains; ++j) sums[j] = sums[j] * 0.5f + b;
  }
  float value = 0;
  for (const float s : sums) value += s;
  return {2.0 * kChains * kRounds, static_cast<uint64_t>(value)};
}

#if defined(INGLENOOK_X86)

// Keeps a register's value unknown to the compiler.
template <class T>
void opaque(T& value) {
  asm volatile("" : "+v"(value));
}

__attribute__((target("avx2"))) Computed int8_avx2() {
  __m256i sums[8] = {};
  __m256i a = _mm256_set1_epi8(3);
  __m256i b = _mm256_set1_epi8(2);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
    for (__m256i& sum : sums) {
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
      asm volatile("" : "+x"(b));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi32(sums[0], sums[j]);
  return {2.0 * 32 * 8 * kRounds, static_cast<uint64_t>(_mm256_extract_epi32(sums[0], 0))};
}

__attribute__((target("avx2,fma"))) Computed float_avx2() {
  constexpr int num_sums = 12;
  __m256 sums[num_sums] = {};
  __m256 a = _mm256_set1_ps(0.5f);
  __m256 b = _mm256_set1_ps(0.25f);
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));  // equal chains would be computed once
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(a, b, sum);
  }
  for (int j = 1; j < num_sums; ++j) sums[0] = _mm256_add_ps(sums[0], sums[j]);
  return {2.0 * 8 * num_sums * kRounds, static_cast<uint64_t>(_mm256_cvtss_f32(sums[0]))};
}

__attribute__((target("avx512f,avx512vnni"))) Computed int8_avx512() {
  __m512i sums[kChains] = {};
  __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(2);
  for (__m512i& sum : sums) opaque(sum);  // equal chains would be computed once
  for (int64_t i = 0; i < kRounds; ++i) {
    opaque(a);
    opaque(b);
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm512_add_epi32(sums[0], sums[j]);
  return {2.0 * 64 * kChains * kRounds, static_cast<uint64_t>(_mm512_reduce_add_epi32(sums[0]))};
}

__attribute__((target("avx512f,avx512bf16"))) Computed bf16_avx512() {
  __m512 sums[kChains] = {};
  __m512i a = _mm512_set1_epi16(0x3f00);
  __m512i b = _mm512_set1_epi16(0x3e80);
  for (__m512& sum : sums) opaque(sum);
  for (int64_t i = 0; i < kRounds; ++i) {
    opaque(a);
    opaque(b);
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm512_add_ps(sums[0], sums[j]);
  return {2.0 * 32 * kChains * kRounds, static_cast<uint64_t>(_mm512_reduce_add_ps(sums[0]))};
}
#endif

double best_compute_rate(int threads, double seconds, Computed (*compute)()) {
  const double operations = compute().operations;  // also the warm-up
  return best_rate(threads, operations, seconds, [compute](int64_t) { sink += compute().value; }) / 1e9;
}

}  // namespace

double probe_read(int threads, size_t bytes, double seconds) {
  const size_t slice = std::max(align_up(bytes / static_cast<size_t>(threads), kReadChunk), kReadChunk);
  const Memory memory(slice * static_cast<size_t>(threads));
  parallel_for(threads, threads, 1, [&](int64_t thread, int64_t) {
    std::memset(memory.data() + static_cast<size_t>(thread) * slice, 1, slice);
  });
  uint64_t (*read)(const uint8_t*, size_t) = read_plain;
#if defined(INGLENOOK_X86)
  if (isa_available(Isa::avx512)) read = read_avx512;
#endif
  return best_rate(threads, static_cast<double>(slice), seconds, [&](int64_t thread) {
           sink += read(memory.data() + static_cast<size_t>(thread) * slice, slice);
         }) / 1e9;
}

double probe_int8(int threads, Isa isa, double seconds) {
  if (!isa_available(isa)) throw std::invalid_argument("This processor lacks the instruction set.");
#if defined(INGLENOOK_X86)
  if (isa == Isa::avx512) return best_compute_rate(threads, seconds, int8_avx512);
  if (isa == Isa::avx2) return best_compute_rate(threads, seconds, int8_avx2);
#endif
  return best_compute_rate(threads, seconds, int8_scalar);
}

double probe_bf16(int threads, Isa isa, double seconds) {
  if (!isa_available(isa)) throw std::invalid_argument("This processor lacks the instruction set.");
#if defined(INGLENOOK_X86)
  if (isa == Isa::avx512) return best_compute_rate(threads, seconds, bf16_avx512);
  if (isa == Isa::avx2) return best_compute_rate(threads, seconds, float_avx2);
#endif
  return best_compute_rate(threads, seconds, float_scalar);
}

}  // namespace inglenook
