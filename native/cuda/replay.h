// Captured programs as CUDA graphs: one launch runs all kernels of a program.
#pragma once
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "../graph/program.h"
#include "device.h"

namespace nabla {
namespace cuda {

// Thrown by what waits for the GPU while a graph is made.
struct NotCapturable {};

// Memory that the kernels of a graph use between them.
class Workspace {
 public:
  explicit Workspace(Pool& pool) : pool_(pool) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* allocate(int64_t bytes);
  void release(char* block);  // may be given out again, to the same graph

 private:
  Pool& pool_;
  std::vector<std::pair<char*, int64_t>> all_, free_;
};

// The graphs of one program, by the addresses of its bound slots: a training loop has few of them, in turns.
class Replays : public Prepared {
 public:
  ~Replays() override;
  // Runs the program as a graph, made with `run` where there is none yet; false when it cannot be one.
  bool run(const Program& program, Pool& pool, cudaStream_t stream, const std::function<void()>& run);

 private:
  struct Graph {
    std::vector<char*> addresses;
    cudaGraphExec_t exec;
    std::unique_ptr<Workspace> workspace;
    uint64_t used;  // when
  };
  static constexpr size_t kMost = 8;

  bool capture(const std::vector<char*>& addresses, Pool& pool, cudaStream_t stream, const std::function<void()>& run);

  std::vector<Graph> graphs_;
  uint64_t uses_ = 0;
  int runs_ = 0;
  bool possible_ = true;
};

Workspace* workspaceInUse();  // of the graph that is being made on this thread; null when none is

}  // namespace cuda
}  // namespace nabla
