// The compute threads: a caller deals the chunks of a loop out, and helpers that spin or sleep take theirs.
//
// Every thread has a hand of adjacent chunks, which it plays from the front; whoever is done plays others' hands from
// the back. So a thread meets the same part of the same memory in loop after loop: what the other core wrote last takes
// more than twice as long as what is in its own cache, so that two threads that swap parts gain nothing. That is why the
// last chunk of a hand is left to its owner for as long as a chunk takes.
//
// Playing a chunk is one compare-and-swap. Helpers never have to arrive: the caller plays their hands too and waits only
// for chunks that were taken. So a helper that lost its core delays nothing but its own chunk; and a caller that waited
// in vain works alone for a while.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#endif

#include "denormals.h"
#include "machine.h"
#include "waiting.h"

namespace nabla {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// How long threads stay awake: the caller until the last chunk is done, helpers between the instructions of a program and
// between steps.
constexpr microseconds kAwake{50};
constexpr microseconds kHelperAwake{150};
// A caller that waited longer than this, and much longer than it worked, waited for a thread that had lost its core. It
// then works alone for as long; for twice, four times … as long when that happens again soon, so that a neighbour that
// keeps a core busy costs little, and one that comes and goes does not cost the helpers.
constexpr microseconds kPatience{100};
constexpr int kMostAlone = 32;
constexpr int kSoon = 4;

// The core that the calling thread is on; −1 where that cannot be had.
int currentCore() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread to another core, if it may use any. The system likes to wake a thread on the core of the one
// that woke it, in front of it; there a helper that stays awake would only be in the way.
bool leaveCore(int core) {
#if defined(__linux__)
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) return false;
  cpu_set_t others = all;
  CPU_CLR(core, &others);
  return sched_setaffinity(0, sizeof others, &others) == 0 && sched_setaffinity(0, sizeof all, &all) == 0;
#else
  return true;
#endif
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

constexpr int kMostThreads = 1024;

class Workers {
 public:
  Workers() { hands_[0].reset(new Hand); }

  // Runs the loop with up to `threads` threads; false when another caller has the pool, or it should not be used now.
  bool run(int threads, int64_t chunks, Body body, void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    const auto start = Clock::now();
    if (start < aloneUntil_) {
      busy_.store(false, std::memory_order_release);
      return false;
    }
    if (threads != threads_) resize(threads);
    deal(uint32_t(chunks), body, context);
    inside = true;
    const uint32_t mine = play(0);
    inside = false;
    if (!finish(mine)) wait(start, mine);
    std::exception_ptr error;
    if (failed_.load(std::memory_order_relaxed)) std::swap(error, error_);
    busy_.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  // What a thread has to do, on a cache line of its own. When no chunk is left in any hand, whoever adds some owns all
  // fields; who takes a chunk may read them until it has reported that as finished.
  struct alignas(64) Hand {
    std::atomic<uint64_t> chunks{0};  // the first one << 32 | the one after the last
    Body body = nullptr;
    void* context = nullptr;
    Event dealt;                       // changes when chunks are added
    std::atomic<bool> present{false};  // its owner is awake, and has not been missed
  };

  void deal(uint32_t chunks, Body body, void* context) {
    finished_.value.store(0, std::memory_order_relaxed);
    total_ = chunks;
    failed_.store(false, std::memory_order_relaxed);
    core_.store(currentCore(), std::memory_order_relaxed);
    const uint32_t hands = uint32_t(std::min<size_t>(helpers_.size() + 1, chunks));
    active_.store(hands, std::memory_order_release);
    // The caller's hand comes last: others are taken up meanwhile.
    for (uint32_t i = hands; i-- > 0;) {
      Hand& hand = *hands_[i];
      hand.body = body;
      hand.context = context;
      const uint64_t begin = uint64_t(chunks) * i / hands, end = uint64_t(chunks) * (i + 1) / hands;
      hand.chunks.store(begin << 32 | end, std::memory_order_release);
      if (i == 0) break;
      hand.dealt.value.fetch_add(1);
      hand.dealt.wake();
    }
  }

  // Takes chunks, of the thread's own hand first, as long as there are any to be had; returns how many.
  uint32_t play(uint32_t index) {
    uint32_t count = playHand(*hands_[index], true, 0);
    const uint32_t hands = active_.load(std::memory_order_acquire);
    for (uint32_t i = 1; i < hands; i++) {
      Hand& other = *hands_[(index + i) % hands];
      count += playHand(other, false, other.present.load(std::memory_order_relaxed) ? 1 : 0);
    }
    return count;
  }

  // Leaves as many to the others.
  uint32_t playHand(Hand& hand, bool own, uint32_t left) {
    uint32_t count = 0;
    for (uint64_t chunks = hand.chunks.load(std::memory_order_acquire);
         uint32_t(chunks >> 32) + left < uint32_t(chunks);) {
      const uint64_t rest = own ? chunks + (uint64_t(1) << 32) : chunks - 1;
      // That a hand may have been another loop's and look the same does no harm: nothing read before is used.
      if (!hand.chunks.compare_exchange_weak(chunks, rest, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      call(hand.body, hand.context, own ? uint32_t(chunks >> 32) : uint32_t(rest));
      count++;
      chunks = hand.chunks.load(std::memory_order_acquire);
    }
    return count;
  }

  // Takes what helpers left, who are not to be waited for any more.
  uint32_t playForAbsent() {
    uint32_t count = 0;
    for (uint32_t i = 1; i < active_.load(std::memory_order_relaxed); i++) {
      const uint32_t taken = playHand(*hands_[i], false, 0);
      if (taken > 0) hands_[i]->present.store(false, std::memory_order_relaxed);
      count += taken;
    }
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
  bool finish(uint32_t count) {
    const uint32_t total = total_;  // a thread that has something to report keeps the loop open until it has
    if (count == 0) return finished_.value.load() == total;
    const bool last = finished_.value.fetch_add(count) + count == total;
    if (last) finished_.wake();
    return last;
  }

  // Waits for the helpers in a loop that began at `start` and of which the caller did `mine` chunks.
  void wait(Clock::time_point start, uint32_t mine) {
    const auto done = [&] { return finished_.value.load() == total_; };
    auto begin = Clock::now();
    if (spin((begin - start) / (mine + 1), done)) return;
    if (const uint32_t more = playForAbsent()) {
      if (finish(more)) return;
      begin = Clock::now();
    }
    if (!spin(kAwake, done))
      for (uint32_t seen; (seen = finished_.value.load()) != total_;) finished_.wait(seen);
    const auto end = Clock::now();
    const auto waited = end - begin;
    if (waited < kPatience || waited < 2 * (begin - start)) return;
    alone_ = begin - aloneUntil_ < kSoon * waited ? std::min(2 * alone_, kMostAlone) : 1;
    aloneUntil_ = end + alone_ * waited;
  }

  void helper(uint32_t index) {
    FlushDenormals flush;
    Hand& hand = *hands_[index];
    for (uint32_t seen = hand.dealt.value.load(); int(index) < wanted_.load(std::memory_order_acquire);
         seen = hand.dealt.value.load()) {
      if (!hand.present.load(std::memory_order_relaxed)) hand.present.store(true, std::memory_order_relaxed);
      if (const uint32_t count = play(index)) finish(count);
      const auto changed = [&] { return hand.dealt.value.load(std::memory_order_acquire) != seen; };
      if (leaveCallersCore() && spin(kHelperAwake, changed)) continue;
      hand.present.store(false, std::memory_order_relaxed);
      while (!changed()) hand.dealt.wait(seen);
    }
  }

  // False when a helper that stays awake would be in somebody's way.
  bool leaveCallersCore() {
    if (crowded_) return false;
    const int core = core_.load(std::memory_order_relaxed);
    return core < 0 || currentCore() != core || leaveCore(core);
  }

  void resize(int threads) {
    threads_ = threads;
    crowded_ = threads > availableCores();
    wanted_.store(threads, std::memory_order_release);
    for (size_t i = helpers_.size(); i > 0 && i >= size_t(threads); i--) {
      hands_[i]->dealt.value.fetch_add(1);
      hands_[i]->dealt.wake();
      helpers_.back().join();
      helpers_.pop_back();
    }
    try {
      while (int(helpers_.size()) < threads - 1) {
        const uint32_t index = uint32_t(helpers_.size()) + 1;
        if (!hands_[index]) hands_[index].reset(new Hand);
        helpers_.emplace_back([this, index] { helper(index); });
      }
    } catch (const std::exception&) {
      // No more threads, or no memory for them, to be had: those there are do the work.
    }
  }

  std::atomic<bool> busy_{false};
  // Of whoever has made that true:
  int threads_ = 1;
  std::vector<std::thread> helpers_;
  Clock::time_point aloneUntil_;
  int alone_ = 1;  // so many times as long as the caller had to wait

  std::unique_ptr<Hand> hands_[kMostThreads];  // the caller's first; never freed
  uint32_t total_ = 0;                         // chunks
  std::atomic<uint32_t> active_{0};            // hands that were given some
  std::atomic<int> core_{-1};                  // where the caller is
  std::atomic<bool> crowded_{false};           // more threads than cores
  std::atomic<int> wanted_{1};                 // threads
  alignas(64) Event finished_;                 // chunks done
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
  return n < 1 ? 0 : int(std::min(n, long(kMostThreads)));
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

void setThreads(int n) { chosen.store(std::max(1, std::min(n, kMostThreads)), std::memory_order_relaxed); }

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
