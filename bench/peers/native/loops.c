// Plain C loops, as fast as the compiler makes them with -Ofast -march=native (on x86-64 with the C library's vector
// functions): one thread.
#include "serve.h"

static long n, rows, columns;
static float *x, *y;

#define LOOP(name, expression)                        \
  static void name##_(long repeats) {                 \
    for (long r = 0; r < repeats; r++) {              \
      const float* restrict from = x;                 \
      float* restrict to = y;                         \
      for (long i = 0; i < n; i++) {                  \
        const float v = from[i];                      \
        to[i] = (expression);                         \
      }                                               \
      __asm__ volatile("" ::: "memory");              \
    }                                                 \
  }
LOOP(relu, v > 0 ? v : 0)
LOOP(exp, expf(v))
LOOP(sigmoid, 1 / (1 + expf(-v)))
LOOP(tanh, tanhf(v))
LOOP(gelu, 0.5f * v * (1 + erff(v * 0.70710678f)))

static void softmax_(long repeats) {
  for (long r = 0; r < repeats; r++) {
    for (long i = 0; i < rows; i++) {
      const float* restrict from = x + i * columns;
      float* restrict to = y + i * columns;
      float top = from[0], sum = 0;
      for (long j = 1; j < columns; j++) top = from[j] > top ? from[j] : top;
      for (long j = 0; j < columns; j++) sum += to[j] = expf(from[j] - top);
      const float scale = 1 / sum;
      for (long j = 0; j < columns; j++) to[j] *= scale;
    }
    __asm__ volatile("" ::: "memory");
  }
}

static void releaseAll(void) {
  free(x), free(y);
  x = y = NULL;
}

static void prepare(const char* request) {
  char kind[32], fn[32];
  textOf(request, "kind", kind, sizeof kind);
  textOf(request, "fn", fn, sizeof fn);
  void (*run)(long) = NULL;
  if (threads > 1) {
    refusal = "it has one thread";
  } else if (strcmp(kind, "softmax") == 0) {
    rows = fieldOf(request, "rows", 0), columns = fieldOf(request, "columns", 0), n = rows * columns;
    run = softmax_;
  } else if (strcmp(kind, "unary") == 0) {
    n = fieldOf(request, "n", 0);
    run = strcmp(fn, "relu") == 0      ? relu_
          : strcmp(fn, "exp") == 0     ? exp_
          : strcmp(fn, "sigmoid") == 0 ? sigmoid_
          : strcmp(fn, "tanh") == 0    ? tanh_
                                       : gelu_;
  } else {
    refusal = "it has element-wise loops and softmax only";
  }
  if (!run) return;
  x = dataOf(request, "x", n);
  y = floats(n);
  add("", run, y, n, 0);
}

int main(void) { return serve(__VERSION__, ""); }
