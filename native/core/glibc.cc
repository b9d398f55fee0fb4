// Lets a binary that was linked on a new Linux run on an old one (glibc 2.28): functions that newer C libraries have a
// new version of, or have alone, are defined here, hidden, on top of old ones. The linker resolves our references, and
// those of the static C++ runtime, to these. test/package/binary.test.ts checks that nothing newer is left.
#if defined(__linux__)
#include <features.h>
#endif
#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>

#if defined(__x86_64__)
#define FIRST_VERSION "GLIBC_2.2.5"
#else
#define FIRST_VERSION "GLIBC_2.17"
#endif

#define HIDDEN extern "C" __attribute__((visibility("hidden")))

// Defines `name` (under another C++ name, so that the system's headers do not object) as a call of its first version.
#define FIRST(result, name, parameters, arguments)                \
  extern "C" result first_##name parameters;                      \
  __asm__(".symver first_" #name "," #name "@" FIRST_VERSION);    \
  HIDDEN result hidden_##name parameters __asm__(#name);          \
  HIDDEN result hidden_##name parameters { return first_##name arguments; }

// New versions in 2.29, without System V's error handling.
FIRST(double, exp, (double x), (x))
FIRST(double, exp2, (double x), (x))
FIRST(double, log, (double x), (x))
FIRST(double, log2, (double x), (x))
FIRST(double, pow, (double x, double y), (x, y))

// Moved from libpthread to libc in 2.34.
FIRST(int, pthread_create, (pthread_t * thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument),
      (thread, attributes, run, argument))
FIRST(int, pthread_detach, (pthread_t thread), (thread))
FIRST(int, pthread_join, (pthread_t thread, void** result), (thread, result))
FIRST(int, pthread_once, (pthread_once_t * once, void (*run)()), (once, run))
FIRST(int, __pthread_key_create, (pthread_key_t * key, void (*destroy)(void*)), (key, destroy))
FIRST(int, pthread_key_create, (pthread_key_t * key, void (*destroy)(void*)), (key, destroy))
FIRST(int, pthread_key_delete, (pthread_key_t key), (key))
FIRST(void*, pthread_getspecific, (pthread_key_t key), (key))
FIRST(int, pthread_setspecific, (pthread_key_t key, const void* value), (key, value))

// 2.32: lets shared_ptr count without atomics while there is one thread; in Node there never is.
HIDDEN char singleThreaded __asm__("__libc_single_threaded");
char singleThreaded = 0;

// 2.36: behind std::random_device.
HIDDEN uint32_t hiddenRandom() __asm__("arc4random");
HIDDEN uint32_t hiddenRandom() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != ssize_t(sizeof value)) {
  }  // fails only when a signal interrupts it
  return value;
}

// 2.35: where the unwinder finds the tables of the code at an address. The same by dl_iterate_phdr, as before 2.35.
namespace {

struct Found {  // glibc's struct dl_find_object, on architectures without a separate data base
  unsigned long long flags;
  void* mapStart;
  void* mapEnd;
  struct link_map* map;
  void* ehFrame;
  unsigned long long reserved[7];
};

struct Search {
  uintptr_t address;
  Found* found;
};

int look(struct dl_phdr_info* info, size_t, void* context) {
  const Search& search = *static_cast<Search*>(context);
  const ElfW(Phdr)* table = nullptr;
  uintptr_t start = UINTPTR_MAX, end = 0;
  bool holds = false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    const uintptr_t first = info->dlpi_addr + segment.p_vaddr, last = first + segment.p_memsz;
    if (segment.p_type == PT_GNU_EH_FRAME) table = &segment;
    if (segment.p_type != PT_LOAD) continue;
    if (first < start) start = first;
    if (last > end) end = last;
    holds = holds || (search.address >= first && search.address < last);
  }
  if (!holds) return 0;
  if (!table) return -1;
  *search.found = {};
  search.found->mapStart = reinterpret_cast<void*>(start);
  search.found->mapEnd = reinterpret_cast<void*>(end);
  search.found->ehFrame = reinterpret_cast<void*>(info->dlpi_addr + table->p_vaddr);
  return 1;
}

}  // namespace

HIDDEN int hiddenFindObject(void* address, Found* found) __asm__("_dl_find_object");
HIDDEN int hiddenFindObject(void* address, Found* found) {
  Search search = {reinterpret_cast<uintptr_t>(address), found};
  return dl_iterate_phdr(look, &search) == 1 ? 0 : -1;
}

#endif
