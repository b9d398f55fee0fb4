// How much of the machine this process may use.
#pragma once
#include <cstdint>

namespace nabla {

int availableCores();        // CPU affinity and cgroup quota; at least 1
int64_t availableMemory();   // bytes of RAM, or the cgroup's limit when that is lower

}  // namespace nabla
