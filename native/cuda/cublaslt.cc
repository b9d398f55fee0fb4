// cuBLASLt's functions by name, without its header: objects are opaque, and attributes have numbers that never change.
#include "cublaslt.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>

#include "device.h"
#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace nabla {
namespace cuda {
namespace {

using Status = int;  // 0: success
using Object = void*;
struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "cublasLtMatmulHeuristicResult_t");

enum { kR32F = 0, kR64F = 1, kR16F = 2, kR16BF = 14 };            // cudaDataType
enum { kCompute32F = 68, kCompute64F = 70, kComputeTf32 = 77 };    // cublasComputeType_t
enum { kTransposeA = 3, kTransposeB = 4 };                         // cublasLtMatmulDescAttributes_t
enum { kBatchCount = 5, kBatchOffset = 6 };                        // cublasLtMatrixLayoutAttribute_t
enum { kMaxWorkspace = 1, kAlignmentA = 5, kAlignmentB, kAlignmentC, kAlignmentD };  // cublasLtMatmulPreferenceAttributes_t
constexpr int64_t kWorkspace = int64_t(32) << 20;                  // bytes, as NVIDIA recommends for sm_90

#if defined(_WIN32)
void* open(const char* path) { return reinterpret_cast<void*>(LoadLibraryA(path)); }
void* symbol(void* library, const char* name) { return reinterpret_cast<void*>(GetProcAddress(HMODULE(library), name)); }
#else
void* open(const char* path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
void* symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

struct Library {
  std::string missing;  // why it cannot be used; empty when it can
  Status (*create)(Object*);
  Status (*descCreate)(Object*, int compute, int scale);
  Status (*descSet)(Object, int attribute, const void*, size_t);
  Status (*descDestroy)(Object);
  Status (*layoutCreate)(Object*, int type, uint64_t rows, uint64_t columns, int64_t lead);
  Status (*layoutSet)(Object, int attribute, const void*, size_t);
  Status (*layoutDestroy)(Object);
  Status (*preferenceCreate)(Object*);
  Status (*preferenceSet)(Object, int attribute, const void*, size_t);
  Status (*preferenceDestroy)(Object);
  Status (*choose)(Object handle, Object desc, Object a, Object b, Object c, Object d, Object preference, int asked, Heuristic*, int* found);
  Status (*matmul)(Object handle, Object desc, const void* alpha, const void* a, Object aLayout, const void* b, Object bLayout,
                   const void* beta, const void* c, Object cLayout, void* d, Object dLayout, const Algorithm*, void* workspace,
                   size_t bytes, cudaStream_t);

  Library() {
    const char* const chosen = std::getenv("NABLA_CUBLAS_PATH");
    void* library = nullptr;
    if (chosen && *chosen) library = open(chosen);
    else
#if defined(_WIN32)
      for (const char* name : {"cublasLt64_13.dll", "cublasLt64_12.dll"})
#else
      for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
#endif
        if (!library) library = open(name);
    if (!library) {
      missing = chosen && *chosen ? std::string(chosen) + " cannot be loaded" : "libcublasLt is not found (NABLA_CUBLAS_PATH may name it)";
      return;
    }
    const auto bind = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol(library, name));
      if (!function) missing = std::string("cuBLASLt has no ") + name;
    };
    bind(create, "cublasLtCreate");
    bind(descCreate, "cublasLtMatmulDescCreate");
    bind(descSet, "cublasLtMatmulDescSetAttribute");
    bind(descDestroy, "cublasLtMatmulDescDestroy");
    bind(layoutCreate, "cublasLtMatrixLayoutCreate");
    bind(layoutSet, "cublasLtMatrixLayoutSetAttribute");
    bind(layoutDestroy, "cublasLtMatrixLayoutDestroy");
    bind(preferenceCreate, "cublasLtMatmulPreferenceCreate");
    bind(preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
    bind(preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
    bind(choose, "cublasLtMatmulAlgoGetHeuristic");
    bind(matmul, "cublasLtMatmul");
  }
};

void expect(Status status, const char* what) {
  if (status != 0) fail("PROGRAM", "cuBLASLt: %s: status %d", what, status);
}

const Library& library() {
  static const Library loaded;  // late: it takes a sixth of a second
  if (!loaded.missing.empty()) fail("PROGRAM", "NABLA_CUDA_CUBLAS=1, but %s", loaded.missing.c_str());
  return loaded;
}

// One of each GPU, for as long as the process lives.
Object handle() {
  static std::mutex mutex;
  static std::map<int, Object> handles;
  const std::lock_guard<std::mutex> lock(mutex);
  Object& handle = handles[properties().index];
  if (!handle) expect(library().create(&handle), "cublasLtCreate");
  return handle;
}

// An object that goes with the call.
struct Owned {
  Object object = nullptr;
  Status (*destroy)(Object);
  explicit Owned(Status (*destroy)(Object)) : destroy(destroy) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (object) destroy(object);
  }
};

// Bytes that an address is a multiple of, up to the 256 that cuBLASLt takes for granted where it is not told.
uint32_t alignmentOf(const void* p) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(p) | 256;
  return uint32_t(at & (~at + 1));
}

// The transpose of a matrix of ours, as cuBLAS sees it: with columns that are contiguous, transposed or not.
struct Side {
  Owned layout{library().layoutDestroy};
  int transposed = 0;
  bool make(const View& v, int type) {
    const auto unit = [&](int d) { return v.strides[d] == 1 || v.shape[d] == 1; };
    const bool rows = unit(2) && (v.strides[1] >= v.shape[2] || v.shape[1] == 1);
    if (!rows && !(unit(1) && (v.strides[2] >= v.shape[1] || v.shape[2] == 1))) return false;
    if (v.strides[0] < 0) return false;
    transposed = rows ? 0 : 1;
    const int contiguous = rows ? 2 : 1, other = rows ? 1 : 2;
    const int64_t lead = v.shape[other] == 1 ? v.shape[contiguous] : v.strides[other], offset = v.strides[0];
    expect(library().layoutCreate(&layout.object, type, uint64_t(v.shape[contiguous]), uint64_t(v.shape[other]), lead), "a layout");
    const int32_t batches = v.shape[0];
    expect(library().layoutSet(layout.object, kBatchCount, &batches, sizeof batches), "a layout's batches");
    expect(library().layoutSet(layout.object, kBatchOffset, &offset, sizeof offset), "a layout's batches");
    return true;
  }
};

}  // namespace

// cᵀ = bᵀ·aᵀ, since cuBLAS has columns where we have rows.
bool cublasProduct(const View& c, const View& a, const View& b) {
  const char* const text = std::getenv("NABLA_CUDA_CUBLAS");
  if (!text || text[0] != '1') return false;
  int type;
  switch (c.dtype) {
    case DType::f32: type = kR32F; break;
    case DType::f64: type = kR64F; break;
    case DType::f16: type = kR16F; break;
    case DType::bf16: type = kR16BF; break;
    default: return false;
  }
  if (a.shape[2] == 0) return false;
  const Library& lt = library();
  Side x, y, z;
  if (!x.make(b, type) || !y.make(a, type) || !z.make(c, type) || z.transposed) return false;
  const bool wide = c.dtype == DType::f64, tf32 = c.dtype == DType::f32 && wantsTf32();
  Owned desc(lt.descDestroy), preference(lt.preferenceDestroy);
  expect(lt.descCreate(&desc.object, wide ? kCompute64F : tf32 ? kComputeTf32 : kCompute32F, wide ? kR64F : kR32F), "a description");
  expect(lt.descSet(desc.object, kTransposeA, &x.transposed, sizeof x.transposed), "a description");
  expect(lt.descSet(desc.object, kTransposeB, &y.transposed, sizeof y.transposed), "a description");
  expect(lt.preferenceCreate(&preference.object), "a preference");
  const uint64_t most = kWorkspace;
  expect(lt.preferenceSet(preference.object, kMaxWorkspace, &most, sizeof most), "a preference");
  const uint32_t alignments[] = {alignmentOf(b.data), alignmentOf(a.data), alignmentOf(c.data), alignmentOf(c.data)};
  for (int i = 0; i < 4; i++)
    expect(lt.preferenceSet(preference.object, kAlignmentA + i, &alignments[i], sizeof alignments[i]), "a preference");
  Heuristic best;
  int found = 0;
  if (lt.choose(handle(), desc.object, x.layout.object, y.layout.object, z.layout.object, z.layout.object, preference.object, 1,
                &best, &found) != 0 ||
      found == 0)
    return false;
  const Temporary workspace(kWorkspace);
  const double one64 = 1, zero64 = 0;
  const float one32 = 1, zero32 = 0;
  const void *const one = wide ? static_cast<const void*>(&one64) : &one32, *const zero = wide ? static_cast<const void*>(&zero64) : &zero32;
  expect(lt.matmul(handle(), desc.object, one, b.data, x.layout.object, a.data, y.layout.object, zero, c.data, z.layout.object,
                   c.data, z.layout.object, &best.algorithm, workspace.get<void>(), size_t(kWorkspace), stream()),
         "cublasLtMatmul");
  return true;
}

}  // namespace cuda
}  // namespace nabla
