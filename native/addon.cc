// What nablajs.node exports.
#include <napi.h>

#include "core/cpu.h"
#include "graph/bindings.h"
#include "graph/environment.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace nabla;
  try {
    isa();
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, error.what());
  }
  void* const environment = new Environment(env);
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
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, environment, &function) != napi_ok)
      throw Napi::Error::New(env);
    exports.Set(entry.name, function);
  }
  return exports;
}

}  // namespace

NODE_API_MODULE(nablajs, init)
