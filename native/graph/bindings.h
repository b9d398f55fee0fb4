// The functions that JavaScript calls (docs/kernels.md, "The native interface").
#pragma once
#include <node_api.h>

namespace nabla {

constexpr int kAbi = 2;  // the version of the native interface

class Environment;

// Sets the functions of docs/kernels.md, "The native interface", on an object; they are those of this environment.
void exportEnvironment(napi_env env, napi_value exports, Environment& environment);

}  // namespace nabla
