// The compute threads: a caller publishes a loop, helpers that spin or sleep take chunks of it.
//
// A loop is open while `ticket_` holds (epoch, next chunk); claiming a chunk is one compare-and-swap on it. Helpers never
// have to arrive: the caller takes chunks too and waits only for those that were claimed. So a helper that lost its core
// delays nothing but its own chunk.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

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
#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#endif
#endif

#include "denormals.h"
#include "machine.h"

namespace nabla {

namespace {

inline void pause() {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ __volatile__("yield");
#endif
}

// A word that threads can sleep on until it changes.
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
  void wake(int count) {
    if (sleepers_.load() == 0) return;
#if defined(__linux__)
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&value), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
#else
    std::lock_guard<std::mutex> lock(mutex_);
    if (count == 1) changed_.notify_one();
    else changed_.notify_all();
#endif
  }

 private:
  std::atomic<int> sleepers_{0};
#if !defined(__linux__)
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

// Spins until done() or, after about 40 µs, gives up: a sleeping thread takes 15–50 µs to wake. It yields all the while,
// because the thread that it waits for may have been put on the same core.
template <typename Done>
bool spin(Done done) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 32; i++) {
      if (done()) return true;
      pause();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(40));
  return done();
}

// A worker_thread that ends unloads the libraries that only it had loaded, while our threads go on: this library stays.
// (On Linux it is linked with -z nodelete.)
void stayLoaded() {
#if defined(_WIN32)
  HMODULE self;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                     reinterpret_cast<LPCWSTR>(&stayLoaded), &self);
#elif defined(__APPLE__)
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&stayLoaded), &info)) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

thread_local bool inside = false;  // of a parallel loop, on this thread

using Body = void (*)(void*, int64_t);

class Workers {
 public:
  // Runs the loop with up to `threads` threads; false when another caller has the pool.
  bool run(int threads, int64_t chunks, Body body, void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    resize(threads - 1);
    open(chunks, body, context);
    const int64_t mine = work();
    if (!finish(mine) && !spin([&] { return finished_.value.load() == uint32_t(chunks); })) {
      for (uint32_t seen; (seen = finished_.value.load()) != uint32_t(chunks);) finished_.wait(seen);
    }
    close();
    std::exception_ptr error;
    std::swap(error, error_);
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  static constexpr uint64_t kClosed = 0xFFFFFFFF;  // no chunk: chunks are fewer

  void open(int64_t chunks, Body body, void* context) {
    // Closed until here. A thread that reads one of these fields of a later loop fails its swap: the release stores
    // order the closing before them.
    body_.store(body, std::memory_order_release);
    context_.store(context, std::memory_order_release);
    chunks_.store(uint32_t(chunks), std::memory_order_release);
    finished_.value.store(0);
    failed_.store(false, std::memory_order_relaxed);
    ticket_.store(++epoch_ << 32, std::memory_order_release);
    work_.value.fetch_add(1);
    work_.wake(int(std::min<int64_t>(int64_t(threads_.size()), chunks - 1)));
  }

  void close() { ticket_.store(++epoch_ << 32 | kClosed, std::memory_order_release); }

  // Takes chunks while there are any; returns how many.
  int64_t work() {
    int64_t count = 0;
    inside = true;
    for (uint64_t ticket = ticket_.load(std::memory_order_acquire);;) {
      const uint32_t chunk = uint32_t(ticket);
      const Body body = body_.load(std::memory_order_acquire);
      void* const context = context_.load(std::memory_order_acquire);
      if (chunk >= chunks_.load(std::memory_order_acquire)) {
        // Exhausted or closed, unless the fields were those of another loop.
        const uint64_t now = ticket_.load(std::memory_order_acquire);
        if (now == ticket) break;
        ticket = now;
        continue;
      }
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      call(body, context, chunk);
      count++;
      ticket = ticket_.load(std::memory_order_acquire);
    }
    inside = false;
    return count;
  }

  void call(Body body, void* context, uint32_t chunk) {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      body(context, chunk);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();  // the first one is kept
    }
  }

  // Reports finished chunks; true when they were the last ones.
  bool finish(int64_t count) {
    if (count == 0) return finished_.value.load() == chunks_.load(std::memory_order_relaxed);
    const uint32_t total = chunks_.load(std::memory_order_relaxed);
    const bool last = finished_.value.fetch_add(uint32_t(count)) + uint32_t(count) == total;
    if (last) finished_.wake(1);
    return last;
  }

  void helper(int index) {
    FlushDenormals flush;
    for (uint32_t seen = work_.value.load();;) {
      if (index >= wanted_.load(std::memory_order_acquire)) return;
      if (const int64_t count = work()) finish(count);
      if (!spin([&] { return work_.value.load(std::memory_order_acquire) != seen; })) {
        while (work_.value.load() == seen) work_.wait(seen);
      }
      seen = work_.value.load();
    }
  }

  void resize(int helpers) {
    if (int(threads_.size()) == helpers) return;
    wanted_.store(helpers, std::memory_order_release);
    if (int(threads_.size()) > helpers) {
      work_.value.fetch_add(1);
      work_.wake(INT_MAX);
      while (int(threads_.size()) > helpers) {
        threads_.back().join();
        threads_.pop_back();
      }
    }
    try {
      while (int(threads_.size()) < helpers) {
        const int index = int(threads_.size());
        threads_.emplace_back([this, index] { helper(index); });
      }
    } catch (const std::system_error&) {
      // No more threads to be had: those there are do the work.
    }
  }

  std::atomic<bool> busy_{false};
  std::vector<std::thread> threads_;
  std::atomic<int> wanted_{0};
  uint64_t epoch_ = 0;

  alignas(64) std::atomic<uint64_t> ticket_{kClosed};
  std::atomic<Body> body_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<uint32_t> chunks_{0};
  alignas(64) Event work_;      // changes when a loop opens
  alignas(64) Event finished_;  // chunks done
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

// Never destroyed: its threads may be running when the process exits.
Workers& workers() {
  static Workers* const instance = (stayLoaded(), new Workers);
  return *instance;
}

// A positive number at the start of a variable (OMP_NUM_THREADS may be a list); 0 when there is none.
int fromEnvironment(const char* name) {
  const char* text = std::getenv(name);
  if (!text) return 0;
  const long n = std::strtol(text, nullptr, 10);
  return n < 1 ? 0 : int(std::min(n, 1024L));
}

std::atomic<int> chosen{0};

void runAlone(int64_t chunks, Body body, void* context) {
  for (int64_t i = 0; i < chunks; i++) body(context, i);
}

}  // namespace

int defaultThreads() {
  static const int threads = [] {
    const int cores = availableCores();
    if (const int n = fromEnvironment("NABLA_NUM_THREADS")) return n;
    if (const int n = fromEnvironment("OMP_NUM_THREADS")) return n;
    if (const int n = fromEnvironment("SLURM_CPUS_PER_TASK")) return std::min(n, cores);
    return cores;
  }();
  return threads;
}

void setThreads(int n) { chosen.store(std::max(1, std::min(n, 1024)), std::memory_order_relaxed); }

int getThreads() {
  const int n = chosen.load(std::memory_order_relaxed);
  return n > 0 ? n : defaultThreads();
}

void parallelChunks(int64_t chunks, Body body, void* context) {
  if (chunks <= 0) return;
  const int threads = getThreads();
  if (chunks == 1 || threads == 1 || inside) return runAlone(chunks, body, context);
  constexpr int64_t kMost = int64_t(1) << 30;  // chunk numbers have 32 bits
  if (chunks > kMost) {
    const int64_t group = (chunks + kMost - 1) / kMost;
    return parallel((chunks + group - 1) / group, [&](int64_t g) {
      const int64_t end = std::min(chunks, (g + 1) * group);
      for (int64_t i = g * group; i < end; i++) body(context, i);
    });
  }
  if (!workers().run(threads, chunks, body, context)) runAlone(chunks, body, context);
}

}  // namespace nabla
