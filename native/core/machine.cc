// Affinity, cgroup (v1 and v2) and physical limits.
#include "machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#endif

namespace nabla {

namespace {

#if defined(__linux__)

// The first line of a small file; empty when it cannot be read.
std::string firstLine(const std::string& path) {
  std::string line;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char text[256];
    if (std::fgets(text, sizeof text, file)) line.assign(text, std::strcspn(text, "\n"));
    std::fclose(file);
  }
  return line;
}

// The path of this process's cgroup for a v1 controller, or of its v2 cgroup when the name is empty. Lines are
// `id:controller,controller:path`, with no controllers for v2.
std::string cgroupPath(const std::string& controller) {
  std::string path;
  if (std::FILE* file = std::fopen("/proc/self/cgroup", "re")) {
    char text[4096];
    while (std::fgets(text, sizeof text, file)) {
      std::string line(text, std::strcspn(text, "\n"));
      const size_t first = line.find(':'), second = line.find(':', first + 1);
      if (second == std::string::npos) continue;
      const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
      if (names == ",," ? controller.empty() : names.find("," + controller + ",") != std::string::npos)
        path = line.substr(second + 1);
    }
    std::fclose(file);
  }
  return path;
}

// Calls visit(directory) for this process's cgroup and all its ancestors: each of them limits it. Inside a container
// the path may be that of the host, whose last ancestor, the mount itself, is then the right place.
template <typename Visit>
void eachCgroup(const std::string& controller, Visit visit) {
  const std::string root = controller.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
  for (std::string path = cgroupPath(controller); !path.empty() && path != "/";) {
    visit(root + path);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  visit(root);
}

double cgroupCores() {
  double cores = std::numeric_limits<double>::infinity();
  const auto limit = [&](double quota, double period) {
    if (quota > 0 && period > 0) cores = std::min(cores, quota / period);
  };
  eachCgroup("", [&](const std::string& directory) {  // "max 100000" or "150000 100000"
    double quota, period;
    if (std::sscanf(firstLine(directory + "/cpu.max").c_str(), "%lf %lf", &quota, &period) == 2) limit(quota, period);
  });
  eachCgroup("cpu", [&](const std::string& directory) {  // −1: no limit
    limit(std::atof(firstLine(directory + "/cpu.cfs_quota_us").c_str()),
          std::atof(firstLine(directory + "/cpu.cfs_period_us").c_str()));
  });
  return cores;
}

int64_t cgroupMemory() {
  int64_t bytes = std::numeric_limits<int64_t>::max();
  const auto limit = [&](const std::string& text) {  // "max" parses as 0; v1's "no limit" is close to 2^63
    const int64_t value = std::strtoll(text.c_str(), nullptr, 10);
    if (value > 0) bytes = std::min(bytes, value);
  };
  eachCgroup("", [&](const std::string& directory) { limit(firstLine(directory + "/memory.max")); });
  eachCgroup("memory", [&](const std::string& directory) { limit(firstLine(directory + "/memory.limit_in_bytes")); });
  return bytes;
}

int affinity() {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t size = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return 0;
}

#endif

}  // namespace

int availableCores() {
  int cores = 0;
#if defined(__linux__)
  cores = affinity();
#endif
  if (cores < 1) cores = int(std::thread::hardware_concurrency());
#if defined(__linux__)
  const double quota = cgroupCores();
  if (quota < cores) cores = int(quota + 0.999);
#endif
  return std::max(cores, 1);
}

int64_t availableMemory() {
  int64_t bytes = 0;
#if defined(__linux__)
  bytes = int64_t(sysconf(_SC_PHYS_PAGES)) * int64_t(sysconf(_SC_PAGESIZE));
  if (bytes <= 0) bytes = std::numeric_limits<int64_t>::max();
  bytes = std::min(bytes, cgroupMemory());
#elif defined(__APPLE__)
  size_t length = sizeof bytes;
  if (sysctlbyname("hw.memsize", &bytes, &length, nullptr, 0) != 0) bytes = 0;
#elif defined(_WIN32)
  MEMORYSTATUSEX status;
  status.dwLength = sizeof status;
  if (GlobalMemoryStatusEx(&status)) bytes = int64_t(status.ullTotalPhys);
#endif
  return bytes > 0 ? bytes : std::numeric_limits<int64_t>::max();
}

}  // namespace nabla
