#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

namespace inglenook {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

Memory::Memory(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
#if defined(__unix__) || defined(__APPLE__)
  // A block of several huge pages starts on one, so that all of it can lie on them.
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : size_t{4096};
  mapped_ = align_up(bytes, 4096) + (alignment > 4096 ? alignment : 0);
  base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base_ == MAP_FAILED) throw std::bad_alloc();
  data_ = reinterpret_cast<uint8_t*>(align_up(reinterpret_cast<uintptr_t>(base_), alignment));
#if defined(MADV_HUGEPAGE)
  if (alignment == kHugePage) madvise(data_, align_up(bytes, 4096), MADV_HUGEPAGE);
#endif
#else
  mapped_ = align_up(bytes) + kAlignment;
  base_ = std::calloc(mapped_, 1);
  if (base_ == nullptr) throw std::bad_alloc();
  data_ = reinterpret_cast<uint8_t*>(align_up(reinterpret_cast<uintptr_t>(base_)));
#endif
}

Memory::~Memory() {
  if (base_ == nullptr) return;
#if defined(__unix__) || defined(__APPLE__)
  munmap(base_, mapped_);
#else
  std::free(base_);
#endif
}

Memory::Memory(Memory&& other) noexcept { *this = std::move(other); }

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(base_, other.base_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace inglenook
