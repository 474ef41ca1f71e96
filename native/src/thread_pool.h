// A persistent pool that runs a list of stages, one after another, each cut into chunks that threads claim.
//
// A stage ends when its chunks are done, not when all threads have come by: a thread that the system has taken off its
// core delays others by the chunk that it holds, at most, and one that sleeps by nothing. Whoever finishes the last
// chunk opens the next stage; stages of a single chunk it runs itself, so small serial work costs no hand-over.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace inglenook {

class StageRunner {
 public:
  virtual ~StageRunner() = default;
  // `thread` is in [0, num_threads). Chunks of one stage may run at the same time.
  virtual void run_chunk(int stage, int chunk, int thread) noexcept = 0;
};

class ThreadPool {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // The calling thread of `run` is one of `num_threads`. The others start at the first run.
  explicit ThreadPool(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {}
  ~ThreadPool() { close(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Runs stages 0 to num_stages - 1; returns when the last is done. num_chunks[i] is below kMaxChunks and may be 0.
  // Not to be called from two threads at once. `opened`, if wanted, gets the time at which each stage opened and the
  // last was done: [num_stages + 1].
  void run(StageRunner& runner, const int32_t* num_chunks, int num_stages, Time* opened = nullptr);

  // Ends and joins the threads. A later run starts new ones.
  void close();

  static constexpr int32_t kMaxChunks = (1 << 20) - 4096;

 private:
  // The state of the current stage in one word, so that a chunk is claimed by one addition: stage, number of its
  // chunks, and the next chunk to claim. Chunks beyond the number mean that there is nothing to do.
  static constexpr int kCountBits = 20;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;
  static uint64_t ticket(int stage, int32_t num_chunks) {
    return static_cast<uint64_t>(stage) << (2 * kCountBits) | static_cast<uint64_t>(num_chunks) << kCountBits;
  }
  static bool is_open(uint64_t ticket) { return (ticket & kCountMask) < (ticket >> kCountBits & kCountMask); }

  // Threads and what they sleep on. On the heap, because a forked child must leave it alone: it has none of the threads,
  // and destroying a condition variable waits for them.
  struct Crew {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable wake_workers;
    std::condition_variable wake_caller;
    int64_t process_id;
  };

  void start();
  void work(int thread);
  bool run_one(int thread);           // claims a chunk and runs it; false if there was none
  void open_from(int stage, int thread);  // opens the first of the stages from here on that has several chunks
  void wake_all();

  const int num_threads_;
  std::unique_ptr<Crew> crew_;

  // Written by `run` before a stage opens; read only by holders of a chunk.
  StageRunner* runner_ = nullptr;
  const int32_t* num_chunks_ = nullptr;
  int num_stages_ = 0;
  Time* opened_ = nullptr;

  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int32_t> num_left_{0};  // chunks of the open stage that aren't done
  alignas(64) std::atomic<bool> is_done_{true};
  std::atomic<bool> is_closing_{false};
  std::atomic<int32_t> num_parked_{0};
  std::atomic<bool> is_caller_parked_{false};
};

}  // namespace inglenook
