// A loop over [0, count) on several threads, for work at load time and between steps; steps have the thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace inglenook {

// Calls body(begin, end) for pieces of `grain` indices. The first exception is thrown again, after all have ended.
template <class Body>
void parallel_for(int threads, int64_t count, int64_t grain, const Body& body) {
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_lock;
  const auto work = [&] {
    try {
      for (int64_t begin; (begin = next.fetch_add(grain)) < count;) body(begin, std::min(begin + grain, count));
    } catch (...) {
      const std::lock_guard guard(error_lock);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> helpers;
  const int64_t num_pieces = (count + grain - 1) / grain;
  for (int64_t i = 1; i < std::min<int64_t>(threads, num_pieces); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace inglenook
