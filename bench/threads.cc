// What the compute threads cost by themselves: an empty loop after gaps of several lengths, loops of known work, and memory
// that each thread keeps to itself or takes from the other.
//
//   c++ -O3 -march=native -std=c++17 -pthread bench/threads.cc native/core/{threads,machine,errors}.cc -o build/threads
//   build/threads 2      # threads; beside it, for a busy neighbour: taskset -c 0 sh -c 'while :; do :; done'
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../native/core/threads.h"

using namespace nabla;

namespace {

double now() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename F>
void report(const char* name, int repeats, double gap, F&& loop) {
  std::vector<double> times;
  for (int i = 0; i < repeats; i++) {
    const double start = now();
    loop(i);
    times.push_back(now() - start);
    if (gap >= 1000) std::this_thread::sleep_for(std::chrono::microseconds(int64_t(gap)));
    else for (const double end = now() + gap; now() < end;) {}
  }
  std::sort(times.begin(), times.end());
  double sum = 0;
  for (double t : times) sum += t;
  const auto at = [&](double q) { return times[size_t(q * double(times.size() - 1))]; };
  std::printf("%-34s best %7.2f  median %7.2f  p90 %7.2f  p99 %8.2f  mean %7.2f µs\n", name, at(0), at(0.5), at(0.9),
              at(0.99), sum / double(times.size()));
}

volatile float sink;
[[gnu::noinline]] void burn(int n) {
  float x[16];
  for (int i = 0; i < 16; i++) x[i] = float(i);
  for (int i = 0; i < n; i++)
    for (float& v : x) v = v * 0.999f + 0.1f;
  float sum = 0;
  for (float v : x) sum += v;
  sink = sum;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : defaultThreads();
  setThreads(threads);
  char name[64];
  for (double gap : {0.0, 5.0, 20.0, 100.0, 1000.0}) {
    std::snprintf(name, sizeof name, "empty, every %.0f µs", gap);
    report(name, gap >= 1000 ? 300 : 3000, gap, [&](int) { parallel(threads, [](int64_t) {}); });
  }

  double unit = 1e9;  // of burn, in µs
  for (int i = 0; i < 5; i++) {
    const double start = now();
    burn(1000000);
    unit = std::min(unit, (now() - start) / 1e6);
  }
  for (double work : {2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0}) {
    for (int chunks : {threads, 4 * threads}) {
      std::snprintf(name, sizeof name, "%.0f µs of work in %d chunks", work, chunks);
      report(name, 2000, 2, [&](int) { parallel(chunks, [&](int64_t) { burn(int(work / chunks / unit)); }); });
    }
  }

  // An optimizer's update of three arrays; in every second loop each thread takes another's part.
  for (int n : {131072, 401408}) {
    std::vector<float> w(size_t(n), 1.0f), m(w), v(w);
    const auto update = [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        m[size_t(i)] = 0.9f * m[size_t(i)] + 0.1f;
        v[size_t(i)] = 0.99f * v[size_t(i)] + 0.01f;
        w[size_t(i)] -= 1e-3f * m[size_t(i)] * v[size_t(i)];
      }
    };
    const auto part = [&](int64_t chunk, int64_t shift) {
      const int64_t i = (chunk + shift) % threads;
      update(n * i / threads, n * (i + 1) / threads);
    };
    std::snprintf(name, sizeof name, "update of %d, one thread", n);
    report(name, 600, 0, [&](int) { update(0, n); });
    std::snprintf(name, sizeof name, "update of %d, own parts", n);
    report(name, 600, 0, [&](int) { parallel(threads, [&](int64_t i) { part(i, 0); }); });
    std::snprintf(name, sizeof name, "update of %d, swapped parts", n);
    report(name, 600, 0, [&](int k) { parallel(threads, [&](int64_t i) { part(i, k % 2); }); });
  }
}
