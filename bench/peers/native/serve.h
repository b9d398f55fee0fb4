// The other side of harness/process.mjs, for peers in C and C++: reads requests, calls what the program defined.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const char* name;
  void (*run)(long repeats);
  /** Float32 results of one run, to be checked; none for a measurement of the machine. */
  const float* out;
  size_t length;
  /** Operations or bytes of a repeat, where the harness does not know them. */
  double amount;
} Variant;

static Variant variants[8];
static int variantCount = 0;
static const char* refusal = "";
static int threads = 1;

/** Defined by each program: makes the variants for a request, or sets `refusal`; and gives back what they hold. */
static void prepare(const char* request);
static void releaseAll(void);

/** An integer of a request, by name; `otherwise` where it has none. */
static long fieldOf(const char* request, const char* name, long otherwise) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char* at = strstr(request, key);
  return at ? strtol(at + strlen(key), NULL, 10) : otherwise;
}

/** A string of a request; "" where it has none. Names and paths need no escapes. */
static const char* textOf(const char* request, const char* name, char* into, size_t size) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char* at = strstr(request, key);
  size_t n = 0;
  if (at)
    for (at += strlen(key); *at && *at != '"' && n + 1 < size; at++) into[n++] = *at;
  into[n] = 0;
  return into;
}

/** Floats on a cache line's boundary; released with free. */
static inline float* floats(size_t count) {
  float* p = (float*)aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
  if (!p) exit(3);
  memset(p, 0, count * sizeof(float));
  return p;
}

/** The numbers of that name that the harness wrote. */
static inline float* dataOf(const char* request, const char* name, size_t count) {
  char folder[512], path[600];
  textOf(request, "folder", folder, sizeof folder);
  snprintf(path, sizeof path, "%s/%s", folder, name);
  float* values = floats(count);
  FILE* file = fopen(path, "rb");
  if (!file || fread(values, sizeof(float), count, file) != count) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(3);
  }
  fclose(file);
  return values;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static Variant* variantOf(const char* request) {
  char name[64];
  textOf(request, "variant", name, sizeof name);
  for (int i = 0; i < variantCount; i++)
    if (strcmp(variants[i].name, name) == 0) return &variants[i];
  fprintf(stderr, "no variant %s\n", name);
  exit(3);
}

static int serve(const char* version, const char* note) {
  static char line[1 << 16], what[64], path[512];
  const char* asked = getenv("BENCH_THREADS");
  if (asked) threads = atoi(asked);
  while (fgets(line, sizeof line, stdin)) {
    printf("{\"id\":%ld", fieldOf(line, "id", 0));
    textOf(line, "do", what, sizeof what);
    if (strcmp(what, "hello") == 0) {
      printf(",\"version\":\"%s\",\"note\":\"%s\"", version, note);
    } else if (strcmp(what, "prepare") == 0) {
      releaseAll();
      variantCount = 0;
      refusal = "";
      prepare(line);
      printf(",\"why\":\"%s\",\"variants\":[", refusal);
      for (int i = 0; i < variantCount; i++) printf("%s\"%s\"", i ? "," : "", variants[i].name);
      printf("],\"amounts\":[");
      for (int i = 0; i < variantCount; i++) printf("%s%.17g", i ? "," : "", variants[i].amount);
      printf("]");
    } else if (strcmp(what, "output") == 0) {
      Variant* v = variantOf(line);
      double started = now();
      v->run(1);
      double ms = now() - started;
      FILE* file = fopen(textOf(line, "file", path, sizeof path), "wb");
      if (!file || fwrite(v->out, sizeof(float), v->length, file) != v->length) exit(3);
      fclose(file);
      printf(",\"ms\":%.9g,\"length\":%zu", ms, v->length);
    } else if (strcmp(what, "run") == 0) {
      Variant* v = variantOf(line);
      long repeats = fieldOf(line, "repeats", 1);
      double started = now();
      v->run(repeats);
      printf(",\"ms\":%.9g", now() - started);
    } else if (strcmp(what, "release") == 0) {
      releaseAll();
      variantCount = 0;
    }
    printf("}\n");
    fflush(stdout);
  }
  return 0;
}

static inline void add(const char* name, void (*run)(long), const float* out, size_t length, double amount) {
  Variant v = {name, run, out, length, amount};
  variants[variantCount++] = v;
}

#ifdef __cplusplus
}
#endif
