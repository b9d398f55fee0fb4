// What the machine can do at most: multiply-adds in registers, and moving memory of a given size.
#include <pthread.h>

#include "serve.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The widest vectors that -march=native knows.
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float Lanes __attribute__((vector_size(WIDTH)));
enum { LANES = WIDTH / 4, FMAS = 12, STEPS = 4096 };

static float *source, *target;
static size_t perThread;  // floats
static volatile float sink;

/** Twelve chains of multiply-adds, more than the units can have in flight; named, so that they stay in registers. */
static void fma_(long repeats, int thread) {
  Lanes a, b, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11;
  for (int i = 0; i < LANES; i++) a[i] = 0.999f, b[i] = 0.001f * (float)(thread + 1);
  c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = c8 = c9 = c10 = c11 = b;
  for (long r = 0; r < repeats * STEPS; r++) {
    c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b, c3 = c3 * a + b;
    c4 = c4 * a + b, c5 = c5 * a + b, c6 = c6 * a + b, c7 = c7 * a + b;
    c8 = c8 * a + b, c9 = c9 * a + b, c10 = c10 * a + b, c11 = c11 * a + b;
    // Opaque to the compiler, which would otherwise see that twelve equal chains need one.
    __asm__ volatile("" : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5));
    __asm__ volatile("" : "+v"(c6), "+v"(c7), "+v"(c8), "+v"(c9), "+v"(c10), "+v"(c11));
  }
  Lanes sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
  sink = sum[0];
}

static void read_(long repeats, int thread) {
  const Lanes* from = (const Lanes*)(source + thread * perThread);
  const size_t n = perThread / LANES;
  Lanes s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (long r = 0; r < repeats; r++) {
    for (size_t i = 0; i + 8 <= n; i += 8) {
      s0 += from[i], s1 += from[i + 1], s2 += from[i + 2], s3 += from[i + 3];
      s4 += from[i + 4], s5 += from[i + 5], s6 += from[i + 6], s7 += from[i + 7];
    }
    __asm__ volatile("" ::: "memory");
  }
  Lanes sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
  sink = sum[0];
}

static void copy_(long repeats, int thread) {
  const Lanes* from = (const Lanes*)(source + thread * perThread);
  Lanes* to = (Lanes*)(target + thread * perThread);
  const size_t n = perThread / LANES;
  for (long r = 0; r < repeats; r++) {
    for (size_t i = 0; i + 4 <= n; i += 4) {
      to[i] = from[i], to[i + 1] = from[i + 1], to[i + 2] = from[i + 2], to[i + 3] = from[i + 3];
      __asm__ volatile("" ::: "memory");  // or it becomes a call of memcpy, which chooses its stores itself
    }
  }
}

#if defined(__AVX__)
static void stream_(long repeats, int thread) {
  const Lanes* from = (const Lanes*)(source + thread * perThread);
  float* to = target + thread * perThread;
  const size_t n = perThread / LANES;
  for (long r = 0; r < repeats; r++) {
    for (size_t i = 0; i < n; i++) {
#if defined(__AVX512F__)
      _mm512_stream_ps(to + i * LANES, (__m512)from[i]);
#else
      _mm256_stream_ps(to + i * LANES, (__m256)from[i]);
#endif
    }
    _mm_sfence();
  }
}
#endif

typedef struct {
  void (*work)(long, int);
  long repeats;
  int thread;
} Task;

static void* start(void* task) {
  Task* t = (Task*)task;
  t->work(t->repeats, t->thread);
  return NULL;
}

/** The calling thread is one of those that work. */
static void everywhere(void (*work)(long, int), long repeats) {
  pthread_t ids[256];
  Task tasks[256];
  for (int t = 0; t < threads; t++) {
    Task task = {work, repeats, t};
    tasks[t] = task;
    if (t > 0 && pthread_create(&ids[t], NULL, start, &tasks[t])) exit(3);
  }
  start(&tasks[0]);
  for (int t = 1; t < threads; t++) pthread_join(ids[t], NULL);
}

static void runFma(long n) { everywhere(fma_, n); }
static void runRead(long n) { everywhere(read_, n); }
static void runCopy(long n) { everywhere(copy_, n); }
#if defined(__AVX__)
static void runStream(long n) { everywhere(stream_, n); }
#endif

static void releaseAll(void) {
  free(source);
  free(target);
  source = target = NULL;
}

/** "what": "fma", "read" or "copy"; "bytes": of what is read, or of the source of a copy. */
static void prepare(const char* request) {
  char what[16];
  textOf(request, "what", what, sizeof what);
  if (strcmp(what, "fma") == 0) {
    add("multiply-adds", runFma, NULL, 0, 2.0 * FMAS * LANES * STEPS * threads);
    return;
  }
  const size_t unit = 8 * LANES;
  perThread = (size_t)fieldOf(request, "bytes", 0) / sizeof(float) / threads / unit * unit;
  if (perThread == 0) perThread = unit;
  const size_t all = perThread * threads;
  source = floats(all);
  if (strcmp(what, "read") == 0) {
    add("reading", runRead, NULL, 0, 4.0 * all);
    return;
  }
  target = floats(all);
  add("copy", runCopy, NULL, 0, 8.0 * all);
#if defined(__AVX__)
  add("copy, non-temporal stores", runStream, NULL, 0, 8.0 * all);
#endif
}

int main(void) {
  char note[64];
  snprintf(note, sizeof note, "vectors of %d bits", WIDTH * 8);
  return serve(__VERSION__, note);
}
