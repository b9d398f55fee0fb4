// Arguments from JavaScript, checked; results and errors to it. Plain Node-API where calls are frequent: its C++ wrapper
// costs two to three times as much.
#include "bindings.h"

#include <napi.h>

#include <cmath>
#include <cstring>

#include "elementwise.h"
#include "environment.h"

namespace nabla {

namespace {

class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env(env) {
    void* data;
    napi_get_cb_info(env, info, &count_, values_, nullptr, &data);
    environment = static_cast<Environment*>(data);
  }

  napi_value operator[](int i) const { return values_[i]; }  // undefined when it was not given

  int64_t integer(int i, int64_t low, int64_t high) const {
    double value;
    if (napi_get_value_double(env, values_[i], &value) != napi_ok || !(value >= double(low) && value <= double(high)) ||
        value != std::floor(value))
      fail("PROGRAM", "argument %d must be an integer from %lld to %lld", i + 1, static_cast<long long>(low),
           static_cast<long long>(high));
    return int64_t(value);
  }

  struct Array {
    napi_typedarray_type type;
    void* data;
    int64_t length, bytes;
  };
  Array array(int i) const {
    Array array;
    size_t length;
    if (napi_get_typedarray_info(env, values_[i], &array.type, &length, &array.data, nullptr, nullptr) != napi_ok)
      fail("PROGRAM", "argument %d must be a typed array", i + 1);
    array.length = int64_t(length);
    array.bytes = array.length * elementSize(array.type);
    return array;
  }
  Array int32Array(int i) const {
    const Array result = array(i);
    if (result.type != napi_int32_array) fail("PROGRAM", "argument %d must be an Int32Array", i + 1);
    return result;
  }

  const napi_env env;
  Environment* environment;

 private:
  static int64_t elementSize(napi_typedarray_type type) {
    switch (type) {
      case napi_int8_array:
      case napi_uint8_array:
      case napi_uint8_clamped_array: return 1;
      case napi_int16_array:
      case napi_uint16_array: return 2;
      case napi_int32_array:
      case napi_uint32_array:
      case napi_float32_array: return 4;
      case napi_float64_array:
      case napi_bigint64_array:
      case napi_biguint64_array: return 8;
      default: fail("PROGRAM", "typed arrays of this type are not supported");
    }
  }

  size_t count_ = 4;
  napi_value values_[4] = {};
};

void throwError(napi_env env, const char* code, const char* message) { napi_throw_error(env, code, message); }

// Runs a function and turns its exceptions into JavaScript's.
template <typename Function>
napi_value guarded(napi_env env, napi_callback_info info, Function function) {
  try {
    Arguments arguments(env, info);
    return function(arguments, *arguments.environment);
  } catch (const Error& error) {
    throwError(env, error.code, error.what());
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    throwError(env, "MEMORY", "out of memory");
  } catch (const std::exception& error) {
    throwError(env, "MEMORY", error.what());  // std::system_error: no thread to be had
  }
  return nullptr;
}

napi_value number(napi_env env, int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

constexpr int64_t kMaxInt32 = INT32_MAX;
constexpr int64_t kMaxSafe = (int64_t(1) << 53) - 1;

napi_value bindInfo(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    Napi::Array ops = Napi::Array::New(a.env);
    for (int i = 0; i < kernelCount; i++) ops.Set(ops.Length(), kernels[i].name);
    for (const char* name : controlNames) ops.Set(ops.Length(), name);
    Napi::Array functions = Napi::Array::New(a.env);
    for (const char* name : elementwiseNames) functions.Set(functions.Length(), name);
    Napi::Object result = Napi::Object::New(a.env);
    result.Set("ops", ops);
    result.Set("elementwise", functions);
    result.Set("isa", environment.executor().device().kind());
    result.Set("threads", environment.executor().device().threads());
    result.Set("abi", kAbi);
    return result;
  });
}

napi_value bindOpen(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const auto stream = a.int32Array(0);
    environment.open(a[0], static_cast<int32_t*>(stream.data), stream.length);
    return nullptr;
  });
}

napi_value bindFlush(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    environment.flush(a.integer(0, 0, kMaxInt32));
    return nullptr;
  });
}

napi_value bindSubmit(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    environment.submit(a.integer(0, 0, kMaxInt32));
    return nullptr;
  });
}

napi_value bindRead(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const int32_t slot = int32_t(a.integer(0, -1, kMaxInt32));
    const int64_t offset = a.integer(1, 0, kMaxSafe);
    const auto target = a.array(2);
    environment.read(slot, offset, target.data, target.bytes);
    return nullptr;
  });
}

napi_value bindFetch(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const int64_t length = a.integer(0, 0, kMaxInt32);
    const int32_t slot = int32_t(a.integer(1, -1, kMaxInt32));
    const int64_t offset = a.integer(2, 0, kMaxSafe);
    environment.fetch(length, slot, offset, a.integer(3, 0, kMaxSafe));
    return nullptr;
  });
}

napi_value bindReadAsync(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const int32_t slot = int32_t(a.integer(0, -1, kMaxInt32));
    const int64_t offset = a.integer(1, 0, kMaxSafe);
    const auto target = a.array(2);
    return environment.readAsync(slot, offset, a[2], target.data, target.bytes);
  });
}

napi_value bindSync(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments&, Environment& environment) -> napi_value {
    environment.sync();
    return nullptr;
  });
}

napi_value bindSyncAsync(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments&, Environment& environment) { return environment.syncAsync(); });
}

napi_value bindStage(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const auto source = a.array(0);
    return number(a.env, environment.executor().stage(source.data, source.bytes));
  });
}

napi_value bindLoad(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const auto words = a.int32Array(0);
    return number(a.env, environment.executor().load(static_cast<const int32_t*>(words.data), words.length));
  });
}

napi_value bindUnload(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    environment.unload(int32_t(a.integer(0, 0, kMaxInt32)));
    return nullptr;
  });
}

napi_value bindTrack(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const auto slots = a.int32Array(1);
    uint32_t count;
    if (napi_get_array_length(a.env, a[0], &count) != napi_ok || count != slots.length)
      fail("PROGRAM", "track: as many owners as slots are needed");
    for (uint32_t i = 0; i < count; i++) {
      const int32_t slot = static_cast<const int32_t*>(slots.data)[i];
      if (slot < 0 || slot >= kMaxSlots) fail("PROGRAM", "track: there is no slot %d", slot);
      const Napi::HandleScope scope(a.env);
      napi_value owner;
      if (napi_get_element(a.env, a[0], i, &owner) != napi_ok || !environment.owners().track(slot, owner))
        fail("PROGRAM", "track: owner %u is not an object", i);
    }
    return nullptr;
  });
}

napi_value bindUntrack(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const auto slots = a.int32Array(0);
    for (int64_t i = 0; i < slots.length; i++)
      environment.owners().untrack(static_cast<const int32_t*>(slots.data)[i]);
    return nullptr;
  });
}

napi_value bindSweep(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const std::vector<int32_t> dead = environment.owners().sweep();
    if (dead.empty()) return environment.emptySlots();
    Napi::Int32Array slots = Napi::Int32Array::New(a.env, dead.size());
    std::memcpy(slots.Data(), dead.data(), dead.size() * sizeof dead[0]);
    return slots;
  });
}

napi_value bindAdjustMemory(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment&) -> napi_value {
    int64_t total;
    napi_adjust_external_memory(a.env, a.integer(0, -kMaxSafe, kMaxSafe), &total);
    return nullptr;
  });
}

napi_value bindMemory(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    const Pool::Statistics statistics = environment.executor().pool().statistics();
    Napi::Object result = Napi::Object::New(a.env);
    result.Set("inUse", double(statistics.inUse));
    result.Set("pooled", double(statistics.pooled));
    result.Set("peak", double(statistics.peak));
    return result;
  });
}

napi_value bindEmptyCache(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments&, Environment& environment) -> napi_value {
    environment.executor().pool().empty();
    return nullptr;
  });
}

napi_value bindSetThreads(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) -> napi_value {
    environment.executor().device().setThreads(int(a.integer(0, 1, 1024)));
    return nullptr;
  });
}

napi_value bindGetThreads(napi_env env, napi_callback_info info) {
  return guarded(env, info, [](Arguments& a, Environment& environment) {
    return number(a.env, environment.executor().device().threads());
  });
}

}  // namespace

void exportEnvironment(napi_env env, napi_value exports, Environment& environment) {
  const struct {
    const char* name;
    napi_callback function;
  } list[] = {
      {"info", bindInfo},
      {"open", bindOpen},
      {"flush", bindFlush},
      {"submit", bindSubmit},
      {"read", bindRead},
      {"fetch", bindFetch},
      {"readAsync", bindReadAsync},
      {"sync", bindSync},
      {"syncAsync", bindSyncAsync},
      {"stage", bindStage},
      {"load", bindLoad},
      {"unload", bindUnload},
      {"track", bindTrack},
      {"untrack", bindUntrack},
      {"sweep", bindSweep},
      {"adjustMemory", bindAdjustMemory},
      {"memory", bindMemory},
      {"emptyCache", bindEmptyCache},
      {"setThreads", bindSetThreads},
      {"getThreads", bindGetThreads},
  };
  for (const auto& entry : list) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, &environment, &function) != napi_ok)
      throw Napi::Error::New(env);
    if (napi_set_named_property(env, exports, entry.name, function) != napi_ok) throw Napi::Error::New(env);
  }
}

}  // namespace nabla
