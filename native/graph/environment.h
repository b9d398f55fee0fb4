// The state of one JavaScript environment (the main thread or a worker_thread): its executor, the thread that the
// executor runs on when the caller does not wait, and the promises that wait for it.
#pragma once
#include <node_api.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../core/waiting.h"
#include "executor.h"
#include "owners.h"

namespace nabla {

class Environment {
 public:
  Environment(napi_env env, std::unique_ptr<Device> device);  // lives until the environment is torn down
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  void open(napi_value array, int32_t* words, int64_t length);
  void flush(int64_t length);
  void submit(int64_t length);
  void sync();
  void read(int32_t slot, int64_t offset, void* to, int64_t bytes);
  void fetch(int64_t length, int32_t slot, int64_t offset, int64_t bytes);  // flush, and read into the stream
  napi_value readAsync(int32_t slot, int64_t offset, napi_value target, void* to, int64_t bytes);
  napi_value syncAsync();
  void unload(int32_t id);

  Executor& executor() { return executor_; }
  Owners& owners() { return owners_; }
  napi_value emptySlots();  // an Int32Array without elements, always the same

 private:
  struct Task {
    enum Kind { batch, read, sync, unload } kind;
    std::vector<int32_t> words;
    int32_t slot = 0;  // or the program's id
    int64_t offset = 0, bytes = 0;
    void* to = nullptr;
    napi_ref target = nullptr;  // keeps the memory behind `to`
    napi_deferred promise = nullptr;
    const char* code = nullptr;  // of the error, if there was one
    std::string message;
  };

  ~Environment();
  void checkLength(int64_t length);
  void push(std::unique_ptr<Task> task);
  void waitUntil(int unfinished);
  void work();
  void perform(Task& task);
  napi_value promise(std::unique_ptr<Task> task);
  static void settle(napi_env env, napi_value, void* context, void* data);

  napi_env env_;
  Executor executor_;
  Owners owners_;
  napi_ref stream_ = nullptr, emptySlots_ = nullptr;
  int32_t* words_ = nullptr;
  int64_t capacity_ = 0;
  napi_threadsafe_function settle_ = nullptr;
  int promises_ = 0;  // while there are any, the event loop stays alive

  std::thread thread_;
  std::mutex mutex_;
  Event pushed_;  // changes when there is something in the queue
  std::condition_variable finished_;
  std::deque<std::unique_ptr<Task>> queue_;
  std::unique_ptr<Task> spare_;  // a finished batch, whose memory the next one uses
  std::atomic<int> unfinished_{0};  // tasks in the queue or running; changed under the lock
  bool stopping_ = false;
};

}  // namespace nabla
