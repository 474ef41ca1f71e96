#include "thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

namespace inglenook {

namespace {

// Long enough to bridge the gap between two stages or a short Python turn, short enough that a core which somebody
// else needs isn't burnt: a parked thread lets the system move a displaced one onto its core.
constexpr std::chrono::microseconds kSpin{50};

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready` is, false when the spin time is over.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

int64_t current_process() {
#if defined(__unix__) || defined(__APPLE__)
  return getpid();
#else
  return 0;
#endif
}

// Threads that are started meanwhile get no signals: those are for the interpreter's main thread.
class SignalsBlocked {
#if defined(__unix__) || defined(__APPLE__)
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
#endif
};

}  // namespace

void ThreadPool::start() {
  if (crew_ != nullptr && crew_->process_id != current_process()) {
    static_cast<void>(crew_.release());
    num_parked_.store(0);
    ticket_.store(0);
  }
  if (crew_ != nullptr || num_threads_ == 1) return;
  crew_ = std::make_unique<Crew>();
  crew_->process_id = current_process();
  is_closing_.store(false);
  const SignalsBlocked blocked;
  crew_->threads.reserve(num_threads_ - 1);
  for (int thread = 1; thread < num_threads_; ++thread) crew_->threads.emplace_back(&ThreadPool::work, this, thread);
}

void ThreadPool::close() {
  if (crew_ == nullptr) return;
  if (crew_->process_id != current_process()) {
    static_cast<void>(crew_.release());
    return;
  }
  {
    std::lock_guard<std::mutex> lock(crew_->mutex);
    is_closing_.store(true);
  }
  crew_->wake_workers.notify_all();
  for (std::thread& thread : crew_->threads) thread.join();
  crew_.reset();
}

// After a store that others wait for. All of it is sequentially consistent: either this sees the parked thread, or that
// thread sees the store before it sleeps.
void ThreadPool::wake_all() {
  const bool are_workers_parked = num_parked_.load() > 0, is_caller_parked = is_caller_parked_.load();
  if (!are_workers_parked && !is_caller_parked) return;
  { std::lock_guard<std::mutex> lock(crew_->mutex); }
  if (are_workers_parked) crew_->wake_workers.notify_all();
  if (is_caller_parked) crew_->wake_caller.notify_one();
}

void ThreadPool::open_from(int stage, int thread) {
  for (; stage < num_stages_; ++stage) {
    if (opened_ != nullptr) opened_[stage] = Time::clock::now();
    if (num_chunks_[stage] > 1) {
      num_left_.store(num_chunks_[stage], std::memory_order_relaxed);
      ticket_.store(ticket(stage, num_chunks_[stage]));
      wake_all();
      return;
    }
    if (num_chunks_[stage] == 1) runner_->run_chunk(stage, 0, thread);
  }
  if (opened_ != nullptr) opened_[num_stages_] = Time::clock::now();
  is_done_.store(true);
  if (!is_caller_parked_.load()) return;
  { std::lock_guard<std::mutex> lock(crew_->mutex); }
  crew_->wake_caller.notify_one();
}

bool ThreadPool::run_one(int thread) {
  if (!is_open(ticket_.load(std::memory_order_relaxed))) return false;
  const uint64_t claimed = ticket_.fetch_add(1, std::memory_order_acq_rel);
  if (!is_open(claimed)) return false;
  const int stage = static_cast<int>(claimed >> (2 * kCountBits));
  runner_->run_chunk(stage, static_cast<int>(claimed & kCountMask), thread);
  if (num_left_.fetch_sub(1, std::memory_order_acq_rel) == 1) open_from(stage + 1, thread);
  return true;
}

void ThreadPool::work(int thread) {
  const auto has_work = [this] { return is_open(ticket_.load()) || is_closing_.load(); };
  while (!is_closing_.load()) {
    while (run_one(thread)) {
    }
    if (spin_until(has_work)) continue;
    std::unique_lock<std::mutex> lock(crew_->mutex);
    num_parked_.fetch_add(1);
    crew_->wake_workers.wait(lock, has_work);
    num_parked_.fetch_sub(1);
  }
}

void ThreadPool::run(StageRunner& runner, const int32_t* num_chunks, int num_stages, Time* opened) {
  start();
  runner_ = &runner;
  num_chunks_ = num_chunks;
  num_stages_ = num_stages;
  opened_ = opened;
  is_done_.store(false);
  open_from(0, 0);
  const auto is_needed = [this] { return is_done_.load() || is_open(ticket_.load()); };
  while (!is_done_.load()) {
    while (run_one(0)) {
    }
    if (is_done_.load() || spin_until(is_needed)) continue;
    std::unique_lock<std::mutex> lock(crew_->mutex);
    is_caller_parked_.store(true);
    crew_->wake_caller.wait(lock, is_needed);
    is_caller_parked_.store(false);
  }
}

}  // namespace inglenook
