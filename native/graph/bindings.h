// The functions that JavaScript calls (docs/kernels.md, "The native interface").
#pragma once
#include <node_api.h>

namespace nabla {

// All take the Environment as their callback data.
napi_value bindInfo(napi_env, napi_callback_info);
napi_value bindOpen(napi_env, napi_callback_info);
napi_value bindFlush(napi_env, napi_callback_info);
napi_value bindSubmit(napi_env, napi_callback_info);
napi_value bindRead(napi_env, napi_callback_info);
napi_value bindFetch(napi_env, napi_callback_info);
napi_value bindReadAsync(napi_env, napi_callback_info);
napi_value bindSync(napi_env, napi_callback_info);
napi_value bindSyncAsync(napi_env, napi_callback_info);
napi_value bindStage(napi_env, napi_callback_info);
napi_value bindLoad(napi_env, napi_callback_info);
napi_value bindUnload(napi_env, napi_callback_info);
napi_value bindTrack(napi_env, napi_callback_info);
napi_value bindUntrack(napi_env, napi_callback_info);
napi_value bindSweep(napi_env, napi_callback_info);
napi_value bindAdjustMemory(napi_env, napi_callback_info);
napi_value bindMemory(napi_env, napi_callback_info);
napi_value bindEmptyCache(napi_env, napi_callback_info);
napi_value bindSetThreads(napi_env, napi_callback_info);
napi_value bindGetThreads(napi_env, napi_callback_info);

}  // namespace nabla
