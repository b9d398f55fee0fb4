// A libcublasLt that computes on the CPU and checks what it is called with: for the device's calls of it, under the shim.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int kind, live; int type, compute, scale, transpose[2]; int32_t batches; uint32_t alignment[4]; int64_t rows, columns, lead, offset; } Object;
enum { kHandle = 1, kDesc, kLayout, kPreference };
enum { kInvalid = 7 };
static int live; // objects that were created and not destroyed

static int make(Object** to, int kind) {
  *to = calloc(1, sizeof(Object));
  (*to)->kind = kind;
  (*to)->batches = 1;
  if (kind != kHandle) live++;
  return 0;
}
static int drop(Object* object, int kind) {
  if (!object || object->kind != kind) return kInvalid;
  live--;
  free(object);
  return 0;
}
int stubLive(void) { return live; }

int cublasLtCreate(Object** to) { return make(to, kHandle); }
int cublasLtMatmulDescCreate(Object** to, int compute, int scale) {
  make(to, kDesc);
  (*to)->compute = compute, (*to)->scale = scale;
  return 0;
}
int cublasLtMatmulDescSetAttribute(Object* o, int attribute, const void* value, size_t bytes) {
  if (o->kind != kDesc || bytes != 4 || (attribute != 3 && attribute != 4)) return kInvalid;
  memcpy(&o->transpose[attribute - 3], value, 4);
  return 0;
}
int cublasLtMatmulDescDestroy(Object* o) { return drop(o, kDesc); }
int cublasLtMatrixLayoutCreate(Object** to, int type, uint64_t rows, uint64_t columns, int64_t lead) {
  if (lead < (int64_t)rows) return kInvalid;
  make(to, kLayout);
  (*to)->type = type, (*to)->rows = (int64_t)rows, (*to)->columns = (int64_t)columns, (*to)->lead = lead;
  return 0;
}
int cublasLtMatrixLayoutSetAttribute(Object* o, int attribute, const void* value, size_t bytes) {
  if (o->kind != kLayout) return kInvalid;
  if (attribute == 5 && bytes == 4) return memcpy(&o->batches, value, 4), 0;
  if (attribute == 6 && bytes == 8) return memcpy(&o->offset, value, 8), 0;
  return kInvalid;
}
int cublasLtMatrixLayoutDestroy(Object* o) { return drop(o, kLayout); }
int cublasLtMatmulPreferenceCreate(Object** to) {
  make(to, kPreference);
  for (int i = 0; i < 4; i++) (*to)->alignment[i] = 256; // unless one says otherwise
  return 0;
}
int cublasLtMatmulPreferenceSetAttribute(Object* o, int attribute, const void* value, size_t bytes) {
  if (o->kind != kPreference || !value) return kInvalid;
  if (attribute == 1 && bytes == 8) return 0;
  if (attribute >= 5 && attribute <= 8 && bytes == 4) return memcpy(&o->alignment[attribute - 5], value, 4), 0;
  return kInvalid;
}
int cublasLtMatmulPreferenceDestroy(Object* o) { return drop(o, kPreference); }

typedef struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;
int cublasLtMatmulAlgoGetHeuristic(Object* handle, Object* desc, Object* a, Object* b, Object* c, Object* d, Object* preference,
                                   int asked, Heuristic* results, int* found) {
  if (handle->kind != kHandle || desc->kind != kDesc || a->kind != kLayout || b->kind != kLayout || c != d ||
      preference->kind != kPreference || asked != 1)
    return kInvalid;
  memset(results, 0, sizeof *results);
  results->algorithm[0] = 0x5EED;
  for (int i = 0; i < 4; i++) results->algorithm[1 + i] = preference->alignment[i];
  *found = 1;
  return 0;
}

static double load(const void* data, int type, int64_t at) {
  if (type == 0) return ((const float*)data)[at];
  if (type == 1) return ((const double*)data)[at];
  uint32_t bits = (uint32_t)((const uint16_t*)data)[at] << 16; // bfloat16
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static void store(void* data, int type, int64_t at, double x) {
  float value = (float)x;
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (type == 0) ((float*)data)[at] = value;
  else if (type == 1) ((double*)data)[at] = x;
  else ((uint16_t*)data)[at] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

int cublasLtMatmul(Object* handle, Object* desc, const void* alpha, const void* a, Object* A, const void* b, Object* B,
                   const void* beta, const void* c, Object* C, void* d, Object* D, const uint64_t* algorithm, void* workspace,
                   size_t bytes, void* stream) {
  const int tA = desc->transpose[0], tB = desc->transpose[1];
  const int64_t m = D->rows, n = D->columns, k = tA ? A->rows : A->columns;
  const double one = desc->scale == 1 ? *(const double*)alpha : *(const float*)alpha;
  const double none = desc->scale == 1 ? *(const double*)beta : *(const float*)beta;
  if (handle->kind != kHandle || algorithm[0] != 0x5EED || C != D || c != d || !workspace || bytes == 0 || !stream || one != 1 ||
      none != 0 || (tA ? A->columns : A->rows) != m || (tB ? B->rows : B->columns) != n || (tB ? B->columns : B->rows) != k ||
      A->batches != D->batches || B->batches != D->batches || desc->compute != (D->type == 1 ? 70 : 68) ||
      desc->scale != (D->type == 1))
    return kInvalid;
  // An algorithm that was chosen for more would read past what it may.
  const void* const places[] = {a, b, c, d};
  for (int i = 0; i < 4; i++)
    if (algorithm[1 + i] == 0 || (uintptr_t)places[i] % algorithm[1 + i] != 0) return kInvalid;
  for (int batch = 0; batch < D->batches; batch++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < m; i++) {
        double sum = 0;
        for (int64_t p = 0; p < k; p++)
          sum += load(a, A->type, batch * A->offset + (tA ? p + i * A->lead : i + p * A->lead)) *
                 load(b, B->type, batch * B->offset + (tB ? j + p * B->lead : p + j * B->lead));
        store(d, D->type, batch * D->offset + i + j * D->lead, sum);
      }
  return 0;
}
