// Making graphs by recording what a program's kernels launch.
#include "replay.h"

#include <algorithm>

namespace nabla {
namespace cuda {

namespace {
thread_local Workspace* inUse = nullptr;
}

Workspace* workspaceInUse() { return inUse; }
bool capturing() { return inUse != nullptr; }

Workspace::~Workspace() {
  for (const auto& block : all_) pool_.release(block.first, block.second);
}

// Kernels of a graph run in order, so a block that one of them is done with serves the next.
char* Workspace::allocate(int64_t bytes) {
  const auto fits = std::find_if(free_.begin(), free_.end(), [=](const auto& block) {
    return block.second >= bytes && block.second <= 2 * bytes;
  });
  if (fits != free_.end()) {
    char* const block = fits->first;
    free_.erase(fits);
    return block;
  }
  char* const block = pool_.allocate(bytes);
  all_.emplace_back(block, bytes);
  return block;
}
void Workspace::release(char* block) {
  free_.push_back(*std::find_if(all_.begin(), all_.end(), [=](const auto& entry) { return entry.first == block; }));
}

Replays::~Replays() {
  for (const Graph& graph : graphs_) cudaGraphExecDestroy(graph.exec);
}

bool Replays::run(const Program& program, Pool& pool, cudaStream_t stream, const std::function<void()>& run) {
  // One run may be the only one: making a graph takes several times as long.
  if (!possible_ || ++runs_ < 2 || program.nodes().size() < 2) return false;
  std::vector<char*> addresses;
  for (const auto& bound : program.bound()) addresses.push_back(bound.data);
  auto graph = std::find_if(graphs_.begin(), graphs_.end(), [&](const Graph& g) { return g.addresses == addresses; });
  if (graph == graphs_.end()) {
    if (!capture(addresses, pool, stream, run)) return possible_ = false;
    graph = graphs_.end() - 1;
  }
  graph->used = ++uses_;
  check(cudaGraphLaunch(graph->exec, stream), "cudaGraphLaunch");
  return true;
}

bool Replays::capture(const std::vector<char*>& addresses, Pool& pool, cudaStream_t stream,
                      const std::function<void()>& run) {
  auto workspace = std::make_unique<Workspace>(pool);
  // Relaxed: the pool may ask for more memory meanwhile.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  inUse = workspace.get();
  bool good = true;
  try {
    run();
  } catch (...) {  // whatever it is, running the kernels one by one tells it better
    good = false;
  }
  inUse = nullptr;
  cudaGraph_t made = nullptr;
  good = cudaStreamEndCapture(stream, &made) == cudaSuccess && good;
  Graph graph = {addresses, nullptr, std::move(workspace), 0};
  if (good && graphs_.size() >= kMost) {
    // The one that was not used for longest becomes this one: cheaper than a new one where the kernels are the same.
    // Launches of it that are still to come are in the stream before what its memory is given out for.
    const auto oldest = std::min_element(graphs_.begin(), graphs_.end(),
                                         [](const Graph& a, const Graph& b) { return a.used < b.used; });
    graph.exec = oldest->exec;
    graphs_.erase(oldest);
    cudaGraphExecUpdateResultInfo result;
    if (cudaGraphExecUpdate(graph.exec, made, &result) != cudaSuccess) {
      cudaGetLastError();
      cudaGraphExecDestroy(graph.exec);
      graph.exec = nullptr;
    }
  }
  if (good && !graph.exec) good = cudaGraphInstantiate(&graph.exec, made, 0) == cudaSuccess;
  if (made) cudaGraphDestroy(made);
  if (!good) {
    cudaGetLastError();
    return false;
  }
  graphs_.push_back(std::move(graph));
  return true;
}

}  // namespace cuda
}  // namespace nabla
