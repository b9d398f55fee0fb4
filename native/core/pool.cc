// Size classes and free lists; the free blocks themselves hold the lists.
#include "pool.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

#include "errors.h"
#include "machine.h"

// Under AddressSanitizer, what a buffer did not ask for and what is free must not be touched.
#if defined(__SANITIZE_ADDRESS__)
#define NABLA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NABLA_ASAN 1
#endif
#endif
#if defined(NABLA_ASAN)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace nabla {

namespace {

constexpr int64_t kHugePage = int64_t(2) << 20;
constexpr int64_t kHugeFrom = 2 * kHugePage;

// Bytes that all pools of the process have from the system. Systems that overcommit grant more than there is and kill
// the process when it is touched, so the limit is ours to watch.
std::atomic<int64_t> reserved{0};

int64_t memoryLimit() {
  static const int64_t limit = availableMemory();
  return limit;
}

char* systemAllocate(int64_t size) {
  if (reserved.fetch_add(size, std::memory_order_relaxed) + size > memoryLimit()) {
    reserved.fetch_sub(size, std::memory_order_relaxed);
    return nullptr;
  }
  const size_t alignment = size_t(size >= kHugeFrom ? kHugePage : 64);
  void* block = nullptr;
#if defined(_WIN32)
  block = _aligned_malloc(size_t(size), alignment);
#else
  if (posix_memalign(&block, alignment, size_t(size)) != 0) block = nullptr;
#endif
  if (!block) {
    reserved.fetch_sub(size, std::memory_order_relaxed);
    return nullptr;
  }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (size >= kHugeFrom) madvise(block, size_t(size), MADV_HUGEPAGE);  // a hint: the result does not matter
#endif
  return static_cast<char*>(block);
}

void systemFree(void* block, int64_t size) {
  ASAN_UNPOISON_MEMORY_REGION(block, size_t(size));
#if defined(_WIN32)
  _aligned_free(block);
#else
  std::free(block);
#endif
  reserved.fetch_sub(size, std::memory_order_relaxed);
}

// Multiples of 64 up to 512 bytes, then eight classes an octave: `index` names the class, `size` is its block size.
struct SizeClass {
  int index;
  int64_t size;
};

int log2Floor(uint64_t x) {
#if defined(__GNUC__)
  return 63 - __builtin_clzll(x);
#else
  int n = 0;
  while (x >>= 1) n++;
  return n;
#endif
}

SizeClass classOf(int64_t bytes) {
  if (bytes <= 512) {
    const int index = bytes <= 64 ? 0 : int((bytes - 1) >> 6);
    return {index, int64_t(index + 1) << 6};
  }
  const int octave = log2Floor(uint64_t(bytes - 1));  // 2^octave < bytes <= 2^(octave + 1), octave >= 9
  const int shift = octave - 3;
  const int64_t eighths = ((bytes - 1) >> shift) + 1;  // 9 … 16
  return {8 + 8 * (octave - 9) + int(eighths - 9), eighths << shift};
}

int64_t sizeOfClass(int index) {
  if (index < 8) return int64_t(index + 1) << 6;
  const int octave = 9 + (index - 8) / 8, eighths = 9 + (index - 8) % 8;
  return int64_t(eighths) << (octave - 3);
}

constexpr int64_t kLargest = int64_t(1) << 48;

}  // namespace

HostPool::~HostPool() { emptyLocked(); }

char* HostPool::take(int64_t size) {
  char* block = systemAllocate(size);
  if (!block && statistics_.pooled > 0) {
    emptyLocked();
    block = systemAllocate(size);
  }
  return block;
}

char* HostPool::allocate(int64_t bytes) {
  if (bytes >= 0 && bytes <= kLargest) {
    const SizeClass c = classOf(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    char* block;
    if (Free* head = lists_[c.index]) {
      lists_[c.index] = head->next;
      statistics_.pooled -= c.size;
      block = reinterpret_cast<char*>(head);
    } else {
      block = take(c.size);
    }
    if (block) {
      ASAN_UNPOISON_MEMORY_REGION(block, size_t(bytes));
      ASAN_POISON_MEMORY_REGION(block + bytes, size_t(c.size - bytes));
      statistics_.inUse += c.size;
      statistics_.peak = std::max(statistics_.peak, statistics_.inUse);
      return block;
    }
  }
  fail("MEMORY", "a buffer of %lld bytes cannot be had: %lld bytes are in use, the limit is %lld",
       static_cast<long long>(bytes), static_cast<long long>(statistics().inUse),
       static_cast<long long>(memoryLimit()));
}

void HostPool::release(char* block, int64_t bytes) {
  const SizeClass c = classOf(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  statistics_.inUse -= c.size;
  // What is kept stays below a quarter of the memory. Sizes that are no longer asked for would fill it for good, so
  // everything goes then, and the sizes in use come back.
  if (statistics_.pooled + c.size > memoryLimit() / 4) {
    emptyLocked();
    if (c.size > memoryLimit() / 4) return systemFree(block, c.size);
  }
  Free* head = reinterpret_cast<Free*>(block);
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Free));
  head->next = lists_[c.index];
  ASAN_POISON_MEMORY_REGION(block + sizeof(Free), size_t(c.size) - sizeof(Free));
  lists_[c.index] = head;
  statistics_.pooled += c.size;
}

void HostPool::empty() {
  std::lock_guard<std::mutex> lock(mutex_);
  emptyLocked();
}

void HostPool::emptyLocked() {
  for (int i = 0; i < kClasses; i++) {
    while (Free* head = lists_[i]) {
      lists_[i] = head->next;
      systemFree(head, sizeOfClass(i));
    }
  }
  statistics_.pooled = 0;
}

Pool::Statistics HostPool::statistics() {
  std::lock_guard<std::mutex> lock(mutex_);
  return statistics_;
}

}  // namespace nabla
