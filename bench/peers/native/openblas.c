// OpenBLAS through its C interface: matrix products.
#include <cblas.h>

#include "serve.h"

// Part of every OpenBLAS; the generic cblas.h does not declare them.
char* openblas_get_config(void);
void openblas_set_num_threads(int);

static long m, k, n, chain, operands, links;
static float *a, *b, *c, *half;

static void product(const float* x, const float* y, float* out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, x, k, y, n, 0.0f, out, n);
}

static void runProducts(long repeats) {
  for (long i = 0; i < repeats; i++) {
    const long o = i % operands;
    product(a + o * m * k, b, c + o * m * n);
  }
}

/** The last result lands in c. */
static void runChain(long repeats) {
  for (long r = 0; r < repeats; r++) {
    const float* from = a;
    for (long i = 0; i < chain; i++) {
      float* to = (chain - 1 - i) % 2 ? half : c;
      product(from, b + i % links * k * n, to);
      from = to;
    }
  }
}

static void runVector(long repeats) {
  for (long r = 0; r < repeats; r++) {
    const float* from = a;
    for (long i = 0; i < chain; i++) {
      float* to = (chain - 1 - i) % 2 ? half : c;
      cblas_sgemv(CblasRowMajor, CblasTrans, k, n, 1.0f, b + i % links * k * n, n, from, 1, 0.0f, to, 1);
      from = to;
    }
  }
}

static void releaseAll(void) {
  free(a), free(b), free(c), free(half);
  a = b = c = half = NULL;
}

static void prepare(const char* request) {
  char kind[32];
  if (strcmp(textOf(request, "kind", kind, sizeof kind), "matmul") != 0) {
    refusal = "it multiplies matrices only";
    return;
  }
  m = fieldOf(request, "m", 0), k = fieldOf(request, "k", 0), n = fieldOf(request, "n", 0);
  chain = fieldOf(request, "chain", 1), operands = fieldOf(request, "operands", 1), links = fieldOf(request, "links", 1);
  a = dataOf(request, "a", operands * m * k);
  b = dataOf(request, "b", links * k * n);
  c = floats(operands * m * n);
  half = floats(m * n);
  add("sgemm", chain > 1 ? runChain : runProducts, c, m * n, 0);
  if (m == 1 && chain > 1) add("sgemv", runVector, c, m * n, 0);
}

int main(void) {
  const char* asked = getenv("BENCH_THREADS");
  openblas_set_num_threads(asked ? atoi(asked) : 1);
  return serve(openblas_get_config(), "");
}
