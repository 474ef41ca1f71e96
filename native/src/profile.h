// Where a tape's time goes: the time of each stage, summed over the steps that have the same number of tokens. A stage
// lasts from when it opens to when the next one does, so that handing over and waiting count as its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace inglenook {

class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  struct Sums {
    int64_t num_steps = 0;
    std::vector<double> seconds;  // [stage]
  };

  explicit Profile(size_t num_stages) : opened(num_stages + 1) {}

  // When each stage of the step just run opened, and when the last was done: written by the thread pool.
  std::vector<Clock::time_point> opened;
  std::map<int64_t, Sums> sums;  // by number of tokens

  void add_step(int64_t num_tokens) {
    Sums& step = sums[num_tokens];
    step.seconds.resize(opened.size() - 1);
    ++step.num_steps;
    for (size_t i = 0; i < step.seconds.size(); ++i)
      step.seconds[i] += std::chrono::duration<double>(opened[i + 1] - opened[i]).count();
  }
};

}  // namespace inglenook
