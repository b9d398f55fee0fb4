// What nablajs.node exports.
#include <napi.h>

#include "core/cpu.h"
#include "cpu/device.h"
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
  exportEnvironment(env, exports, *new Environment(env, openCpu()));
  return exports;
}

}  // namespace

NODE_API_MODULE(nablajs, init)
