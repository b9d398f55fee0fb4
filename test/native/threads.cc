// The compute threads under stress: loops of every size from several callers at once, nested, throwing, with the number
// of threads changing, each chunk exactly once. Links native/core.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include "../../native/core/denormals.h"
#include "../../native/core/errors.h"
#include "../../native/core/pool.h"
#include "../../native/core/threads.h"

using namespace nabla;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Plain ints: the thread sanitizer sees it when the end of a loop does not order what its chunks wrote.
void loop(int64_t chunks) {
  std::vector<int> runs(size_t(chunks), 0);
  parallel(chunks, [&](int64_t i) { runs[size_t(i)]++; });
  for (int n : runs) require(n == 1, "each chunk runs once");
}

void caller(unsigned seed) {
  for (int i = 0; i < 2000; i++) {
    seed = seed * 1664525u + 1013904223u;
    loop(seed >> 24);
    if (seed >> 16 & 1) std::this_thread::yield();
  }
}

void nested() {
  std::atomic<int> runs{0};
  parallel(10, [&](int64_t) { parallel(10, [&](int64_t) { runs++; }); });
  require(runs == 100, "nested loops run");
}

void throwing() {
  for (int i = 0; i < 200; i++) {
    bool caught = false;
    try {
      parallel(50, [&](int64_t chunk) {
        if (chunk % 7 == 3) fail("INDEX", "chunk %d", int(chunk));
      });
    } catch (const Error& error) {
      caught = std::string(error.code) == "INDEX" && std::string(error.what()).rfind("chunk ", 0) == 0;
    }
    require(caught, "an error of a chunk reaches the caller");
    loop(20);
  }
}

// Helpers that have just gone to sleep, or are about to.
void sleeping() {
  for (int pause = 0; pause < 400; pause += 7) {
    std::this_thread::sleep_for(std::chrono::microseconds(pause));
    loop(1 + pause % 20);
  }
}

// A chunk that lasts keeps its thread, not the loop's other chunks; and a caller that waits in vain works alone, which
// shows in nothing but time.
void lagging() {
  for (int slow = 0; slow < 8; slow++) {
    std::vector<int> runs(8, 0);
    parallel(8, [&](int64_t i) {
      if (i == slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      runs[size_t(i)]++;
    });
    for (int n : runs) require(n == 1, "each chunk runs once beside a slow one");
    loop(50);
  }
}

// Nobody spins for long when there is nothing to do.
void resting() {
#if defined(__linux__)
  loop(1000);
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  require(std::clock() - before < CLOCKS_PER_SEC / 10, "threads without work sleep");
#endif
}

void flushing() {
  FlushDenormals flush;
  std::atomic<int> denormals{0};
  volatile float tiny = 1e-38f;
  parallel(1000, [&](int64_t) {
    volatile float product = tiny * 0.01f;
    if (product != 0) denormals++;
  });
  require(denormals == 0, "denormals are flushed on every thread");
}

void buffers(Pool& pool, unsigned seed) {
  std::vector<std::unique_ptr<Block>> kept(50);
  for (int i = 0; i < 20000; i++) {
    seed = seed * 1664525u + 1013904223u;
    auto& block = kept[seed >> 16 & 31];
    block = nullptr;
    const int64_t bytes = seed >> (8 + (seed & 15));
    block = std::make_unique<Block>(pool, bytes);
    require(reinterpret_cast<uintptr_t>(block->data()) % 64 == 0, "buffers are aligned");
    if (bytes > 0) block->data()[0] = block->data()[bytes - 1] = 1;
    if (i % 5000 == 0) pool.empty();
  }
}

template <typename F>
void together(int count, F run) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; i++) threads.emplace_back([=] { run(unsigned(i + 1)); });
  for (auto& thread : threads) thread.join();
}

}  // namespace

int main() {
  for (int threads : {1, 2, 4, 3, 8, 2}) {
    setThreads(threads);
    loop(0);
    loop(1);
    loop(100000);
    caller(unsigned(threads));
    nested();
    throwing();
    sleeping();
    lagging();
    resting();
    flushing();
  }
  together(4, caller);
  std::atomic<bool> done{false};
  std::thread changes([&] {
    for (int i = 0; !done; i++) {
      setThreads(1 + i % 5);
      std::this_thread::yield();
    }
  });
  together(3, caller);
  done = true;
  changes.join();
  HostPool pool;
  together(4, [&](unsigned seed) { buffers(pool, seed); });
  require(pool.statistics().inUse == 0, "buffers are counted");
  std::puts("ok");  // and helpers are awake while the process ends
  loop(1000);
}
