// What nablajs_cuda.node exports: which GPUs there are, and for each that is opened the functions of nablajs.node.
#include <napi.h>

#include "../graph/bindings.h"
#include "../graph/environment.h"
#include "device.h"
#if defined(NABLA_SHIM)
#include "hopper.cuh"
#include "matmul_wgmma.h"
#include "shim/planted.h"
#endif

namespace {

using namespace nabla;

// → { error, driver, runtime, gpus: [architecture] }
Napi::Value probe(const Napi::CallbackInfo& info) {
  const cuda::Found found = cuda::probe();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("error", found.error);
  result.Set("driver", found.driver);
  result.Set("runtime", found.runtime);
  Napi::Array gpus = Napi::Array::New(info.Env());
  for (const auto& gpu : found.gpus) gpus.Set(gpus.Length(), gpu.architecture);
  result.Set("gpus", gpus);
  return result;
}

// index → the functions
Napi::Value openDevice(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  try {
    Napi::Object functions = Napi::Object::New(env);
    const int index = info[0].As<Napi::Number>().Int32Value();
    exportEnvironment(env, functions, *new Environment(env, openCuda(index)));
    return functions;
  } catch (const Error& error) {
    throw Napi::Error::New(env, error.what());
  }
}

#if defined(NABLA_SHIM)
// For tests: order(name), of the threads; planted(name) → what the shim says; and what is computed on the host.
Napi::Value order(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  shim::setOrder(name == "reverse" ? shim::Order::reverse : name == "random" ? shim::Order::random : shim::Order::forward);
  return info.Env().Undefined();
}
Napi::Value planted(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), shim::planted(info[0].As<Napi::String>()));
}
Napi::Value launched(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), shim::launched()); }
Napi::Value descriptor(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Uint32Value(); };
  return Napi::BigInt::New(info.Env(), cuda::matrixDescriptor(number(0), number(1), number(2)));
}
Napi::Value tilePlace(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Int32Value(); };
  const cuda::TilePlace place = cuda::tilePlace(number(0), number(1), number(2));
  Napi::Array list = Napi::Array::New(info.Env());
  for (const int x : {place.batch, place.row, place.column}) list.Set(list.Length(), x);
  return list;
}
#endif

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", kAbi);
  exports.Set("probe", Napi::Function::New(env, probe));
  exports.Set("device", Napi::Function::New(env, openDevice));
#if defined(NABLA_SHIM)
  exports.Set("order", Napi::Function::New(env, order));
  exports.Set("planted", Napi::Function::New(env, planted));
  exports.Set("launched", Napi::Function::New(env, launched));
  exports.Set("descriptor", Napi::Function::New(env, descriptor));
  exports.Set("tilePlace", Napi::Function::New(env, tilePlace));
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(nablajs_cuda, init)
