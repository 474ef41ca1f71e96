// Weights from the bytes of a checkpoint into the layout that the kernels stream (PackedWeight in kernels.h), and back.
// The block formats are ggml's (llama.cpp, ggml-quants). Nothing here depends on the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "block_formats.h"
#include "kernels.h"
#include "memory.h"

namespace inglenook {

WeightKind parse_weight_kind(std::string_view name);  // throws std::invalid_argument
const char* weight_kind_name(WeightKind kind);

// The packed form that a matrix of this encoding takes in this kind, without data. Throws std::invalid_argument where
// the kind isn't the encoding's own and isn't reached from a float encoding either: nothing is requantised.
PackedWeight packed_layout(Encoding encoding, WeightKind kind, int64_t out_features, int64_t in_features);
// Bytes that the store takes for it: tiles, rounded up to 64.
size_t packed_bytes(const PackedWeight& layout);

// Owns packed weights in a few large mappings. Weights stay where they are until the store goes.
class WeightStore {
 public:
  explicit WeightStore(int threads) : threads_(threads) {}
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  // A matrix; `bytes` are the encoded rows, one after another, and are no longer needed afterwards.
  // Throws std::invalid_argument (a size is wrong, no such conversion), std::range_error (a value doesn't fit the
  // 16-bit format asked for), std::bad_alloc.
  PackedWeight pack(Encoding encoding, WeightKind kind, int64_t out_features, int64_t in_features,
                    const uint8_t* bytes, size_t num_bytes);
  size_t used_bytes() const { return used_bytes_; }

 private:
  uint8_t* allocate(size_t num_bytes);

  int threads_;
  size_t used_bytes_ = 0;
  size_t used_of_last_ = 0;
  std::vector<Memory> mappings_;
};

// Row-major float32 [out_features, in_features] of what the kernels multiply with.
void unpack(const PackedWeight& w, float* out);
// Float32 of `count` weights in a checkpoint's encoding (a multiple of its block size).
void decode(Encoding encoding, const uint8_t* bytes, int64_t count, float* out);

}  // namespace inglenook
