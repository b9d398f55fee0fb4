// What a kernel sees: decoded views and attributes. Every kernel is two functions, `check`, which throws
// Error("PROGRAM") unless the call obeys docs/kernels.md, and `run`, which may then trust the call.
#pragma once
#include <cstdint>
#include <memory>

#include "../core/dtype.h"
#include "../core/errors.h"
#include "../core/pool.h"

namespace nabla {

constexpr int kMaxDims = 8;

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct View {
  char* data = nullptr;  // address of the view's first element; null for an absent operand or when numel is 0
  DType dtype = DType::f32;
  bool present = false;
  bool inlined = false;  // an immediate: `data` is the host's memory, of a program or an instruction
  int8_t ndim = 0;
  int32_t shape[kMaxDims];
  int64_t strides[kMaxDims];  // in elements
  // Of the whole buffer: as long as it is the same, so are the values. 0: unknown, as for all but operands of programs
  // in slots that are bound and that the program does not write.
  uint64_t generation = 0;

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) n *= shape[i];
    return n;
  }
  bool contiguous() const {  // row-major without gaps; dimensions of size 1 may have any stride
    int64_t expect = 1;
    for (int i = ndim - 1; i >= 0; i--) {
      if (shape[i] != 1 && strides[i] != expect) return numel() == 0;
      expect *= shape[i];
    }
    return true;
  }
  template <typename T>
  T* as() const { return reinterpret_cast<T*>(data); }
};

// What a kernel works out about one node of a program and keeps for its next run.
struct Prepared {
  virtual ~Prepared() = default;
};

struct Call {
  const char* op;  // for messages
  const int32_t* attr;
  int32_t nAttr;
  View* out;
  int32_t nOut;
  View* in;
  int32_t nIn;
  // Where `run` may keep something; null for an eager call. From run to run of a node only addresses and the values of
  // 0-dimensional inputs change, and two operands at one address stay so.
  std::unique_ptr<Prepared>* keep = nullptr;
  Pool* pool = nullptr;  // for memory of what is kept
};

// A call is checked with views whose `data` may be null (a program is verified when it is loaded, before its buffers
// exist); `run` gets the addresses.
using Check = void (*)(const Call&);
using Run = void (*)(const Call&);

struct Kernel {
  const char* name;
  Check check;
  Run run;
  bool aliasing;  // its outputs may overlap its inputs …
  int apart;      // … but for the first ones, as many as this
};

// Value of a 0-dimensional view (an immediate or parameter) as float64.
double scalar(const View&);

#define NABLA_KERNEL(name)                   \
  void check_##name(const ::nabla::Call&);   \
  void run_##name(const ::nabla::Call&);

#define KERNEL(name) NABLA_KERNEL(name)
#include "ops.def"
#undef KERNEL
#undef ALIASING_KERNEL
#undef EPILOGUE_KERNEL

}  // namespace nabla
