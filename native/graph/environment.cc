// The queue between a JavaScript thread and its executor thread. The executor belongs to whichever of the two is running
// it: the JavaScript thread uses it only when no task is unfinished.
#include "environment.h"

#include <chrono>
#include <new>

namespace nabla {

namespace {

constexpr int kMostQueued = 64;
constexpr std::chrono::microseconds kAwake{50};  // the executor thread, after a task: one that awaits is soon back

void check(napi_status status) {
  if (status != napi_ok) fail("MEMORY", "a Node-API call failed with status %d", int(status));
}

}  // namespace

Environment::Environment(napi_env env, std::unique_ptr<Device> device)
    : env_(env), executor_(std::move(device)), owners_(env) {
  napi_value name;
  check(napi_create_string_utf8(env, "nablajs", NAPI_AUTO_LENGTH, &name));
  check(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settle, &settle_));
  napi_unref_threadsafe_function(env, settle_);
  // Hooks run in reverse order, so the thread is gone before the thread-safe function is.
  check(napi_add_env_cleanup_hook(env, [](void* self) { delete static_cast<Environment*>(self); }, this));
}

Environment::~Environment() {
  executor_.interrupt();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  pushed_.value.fetch_add(1);
  pushed_.wake();
  if (thread_.joinable()) thread_.join();
  owners_.clear();
  if (stream_) napi_delete_reference(env_, stream_);
  if (emptySlots_) napi_delete_reference(env_, emptySlots_);
  for (const auto& task : queue_)
    if (task->target) napi_delete_reference(env_, task->target);
}

void Environment::open(napi_value array, int32_t* words, int64_t length) {
  if (stream_) fail("PROGRAM", "open: the stream is open already");
  check(napi_create_reference(env_, array, 1, &stream_));
  words_ = words;
  capacity_ = length;
}

void Environment::checkLength(int64_t length) {
  if (length < 0 || length > capacity_)
    fail("PROGRAM", "%lld words of a stream of %lld", static_cast<long long>(length), static_cast<long long>(capacity_));
}

void Environment::flush(int64_t length) {
  checkLength(length);
  waitUntil(0);
  executor_.run(words_, length);
  executor_.throwPending();
}

void Environment::submit(int64_t length) {
  checkLength(length);
  waitUntil(kMostQueued);
  std::unique_ptr<Task> task;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    task = std::move(spare_);
  }
  if (!task) task = std::make_unique<Task>();
  task->kind = Task::batch;
  task->words.assign(words_, words_ + length);
  push(std::move(task));
}

void Environment::sync() {
  waitUntil(0);
  executor_.synchronize();
}

void Environment::read(int32_t slot, int64_t offset, void* to, int64_t bytes) {
  waitUntil(0);
  executor_.read(slot, offset, to, bytes);
}

void Environment::fetch(int64_t length, int32_t slot, int64_t offset, int64_t bytes) {
  checkLength(length);
  if (bytes > capacity_ * int64_t(sizeof *words_))
    fail("PROGRAM", "fetch: %lld bytes do not fit the stream", static_cast<long long>(bytes));
  waitUntil(0);
  executor_.run(words_, length);
  executor_.read(slot, offset, words_, bytes);
}

void Environment::unload(int32_t id) {
  if (unfinished_.load(std::memory_order_acquire) == 0) return executor_.unload(id);
  auto task = std::make_unique<Task>();  // batches before it may replay the program
  task->kind = Task::unload;
  task->slot = id;
  push(std::move(task));
}

napi_value Environment::readAsync(int32_t slot, int64_t offset, napi_value target, void* to, int64_t bytes) {
  auto task = std::make_unique<Task>();
  task->kind = Task::read;
  task->slot = slot;
  task->offset = offset;
  task->to = to;
  task->bytes = bytes;
  check(napi_create_reference(env_, target, 1, &task->target));
  return promise(std::move(task));
}

napi_value Environment::syncAsync() {
  auto task = std::make_unique<Task>();
  task->kind = Task::sync;
  return promise(std::move(task));
}

napi_value Environment::promise(std::unique_ptr<Task> task) {
  napi_value promise;
  check(napi_create_promise(env_, &task->promise, &promise));
  push(std::move(task));
  if (promises_++ == 0) napi_ref_threadsafe_function(env_, settle_);
  return promise;
}

napi_value Environment::emptySlots() {
  napi_value array = nullptr;
  if (emptySlots_) {
    check(napi_get_reference_value(env_, emptySlots_, &array));
    return array;
  }
  napi_value buffer;
  void* data;
  check(napi_create_arraybuffer(env_, 0, &data, &buffer));
  check(napi_create_typedarray(env_, napi_int32_array, 0, buffer, 0, &array));
  check(napi_create_reference(env_, array, 1, &emptySlots_));
  return array;
}

// The queue.

void Environment::push(std::unique_ptr<Task> task) {
  if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(task));
    unfinished_.fetch_add(1, std::memory_order_relaxed);
  }
  pushed_.value.fetch_add(1);
  pushed_.wake();
}

// Waits until at most so many tasks are unfinished: at first awake, since to fall asleep and wake takes 50 µs.
void Environment::waitUntil(int unfinished) {
  if (unfinished_.load(std::memory_order_acquire) <= unfinished) return;
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(30)) {
    if (unfinished_.load(std::memory_order_acquire) <= unfinished) return;
    std::this_thread::yield();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return unfinished_.load(std::memory_order_acquire) <= unfinished; });
}

void Environment::work() {
  for (;;) {
    const uint32_t seen = pushed_.value.load();
    std::unique_ptr<Task> task;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      if (!queue_.empty()) {
        task = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (!task) {
      const auto changed = [&] { return pushed_.value.load(std::memory_order_acquire) != seen; };
      if (!spin(kAwake, changed)) pushed_.wait(seen);
      continue;
    }
    perform(*task);
    Task* const settled = task->promise ? task.release() : nullptr;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (task && task->kind == Task::batch) spare_ = std::move(task);
      unfinished_.fetch_sub(1, std::memory_order_release);
    }
    finished_.notify_one();
    if (settled) napi_call_threadsafe_function(settle_, settled, napi_tsfn_nonblocking);
  }
}

void Environment::perform(Task& task) {
  try {
    switch (task.kind) {
      case Task::batch: return executor_.run(task.words.data(), int64_t(task.words.size()));
      case Task::read: return executor_.read(task.slot, task.offset, task.to, task.bytes);
      case Task::sync: return executor_.synchronize();
      case Task::unload: return executor_.unload(task.slot);
    }
  } catch (const Error& error) {
    task.code = error.code;
    task.message = error.what();
  }
}

// On the JavaScript thread: settles the promise of a finished task. `env` is null when the environment is going.
void Environment::settle(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Task> task(static_cast<Task*>(data));
  if (!env) return;
  Environment& self = *static_cast<Environment*>(context);
  if (task->target) napi_delete_reference(env, task->target);
  napi_value value, code, message;
  if (task->code) {
    napi_create_string_utf8(env, task->code, NAPI_AUTO_LENGTH, &code);
    napi_create_string_utf8(env, task->message.c_str(), task->message.size(), &message);
    napi_create_error(env, code, message, &value);
    napi_reject_deferred(env, task->promise, value);
  } else {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, task->promise, value);
  }
  if (--self.promises_ == 0) napi_unref_threadsafe_function(env, self.settle_);
}

}  // namespace nabla
