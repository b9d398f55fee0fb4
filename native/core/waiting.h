// How threads wait for each other: awake for a while, then asleep. A sleeping thread takes 15–50 µs to wake.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace nabla {

// A word that a thread can sleep on until it changes.
class Event {
 public:
  std::atomic<uint32_t> value{0};

  // Sleeps unless the word is no longer `seen`; may also return early.
  void wait(uint32_t seen) {
    sleepers_.fetch_add(1);
#if defined(__linux__)
    if (value.load() == seen)
      syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (value.load() == seen) changed_.wait(lock);
    }
#endif
    sleepers_.fetch_sub(1);
  }

  // To be called after the word was changed.
  void wake() {
    if (sleepers_.load() == 0) return;
#if defined(__linux__)
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#else
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_one();
#endif
  }

 private:
  std::atomic<int> sleepers_{0};
#if !defined(__linux__)
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

inline void pause() {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ __volatile__("yield");
#endif
}

// Spins until done() or, after a while, gives up. On Linux it does not yield: that would hand the core to whoever else
// wants it, of whatever priority, for milliseconds. So only a thread that is not in the way may spin.
template <typename Done>
bool spin(std::chrono::steady_clock::duration most, Done done) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 16; i++) {
      if (done()) return true;
      pause();
    }
#if !defined(__linux__)
    std::this_thread::yield();
#endif
  } while (std::chrono::steady_clock::now() - start < most);
  return done();
}

}  // namespace nabla
