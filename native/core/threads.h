// One pool of compute threads for the whole process. A caller that finds it busy (another worker_thread's
// environment is using it) runs its loop alone, so environments never oversubscribe the machine.
#pragma once
#include <cstdint>
#include <type_traits>

namespace nabla {

int defaultThreads();       // cores this process may use: affinity, cgroup quota, environment variables
void setThreads(int n);     // takes effect at the next parallel loop; n >= 1
int getThreads();

// Calls body(chunk) for every chunk in [0, chunks), each exactly once, in any order, on any thread; chunks are
// handed out dynamically. Results must not depend on which thread runs a chunk. Runs on the calling thread alone
// when chunks is 1, when one thread is set, when the pool is busy or when called from inside a parallel loop.
void parallelChunks(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context);

template <typename F>
inline void parallel(int64_t chunks, F&& body) {
  using Fn = typename std::remove_reference<F>::type;
  parallelChunks(chunks, [](void* context, int64_t chunk) { (*static_cast<Fn*>(context))(chunk); }, (void*)&body);
}

}  // namespace nabla
