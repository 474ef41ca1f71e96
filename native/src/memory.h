// Large blocks of zeroed memory: page-aligned, on huge pages where the system grants them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inglenook {

constexpr size_t kAlignment = 64;

constexpr size_t align_up(size_t bytes, size_t alignment = kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Owns one block. Pages become resident when they are first written. Movable, not copyable.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);  // throws std::bad_alloc
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  void* base_ = nullptr;  // what was mapped; data_ lies in it
  size_t mapped_ = 0;
};

}  // namespace inglenook
