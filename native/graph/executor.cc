// The loop over instructions, the control instructions and the rules of docs/kernels.md, "Errors".
#include "executor.h"

#include <algorithm>
#include <new>

#include "../core/denormals.h"

namespace nabla {

namespace {

[[noreturn]] void raise(const Failure& failure) { throw Error(failure.code, failure.message); }

}  // namespace

Executor::~Executor() {
  try {
    device_->enter();
  } catch (const Error&) {
    // A GPU that broke down; its memory goes with the process.
  }
  for (size_t slot = 0; slot < slots_.size(); slot++)
    if (buffers_[slot].data) pool_.release(buffers_[slot].data, slots_[slot].bytes);
  for (const auto& entry : staged_) pool_.release(entry.second.data, entry.second.bytes);
}

void Executor::run(const int32_t* words, int64_t length) {
  FlushDenormals flush;
  device_->enter();
  for (int64_t at = 0; at < length && !interrupted_.load(std::memory_order_relaxed);) {
    const int32_t* instruction = words + at;
    const int64_t left = length - at;
    int64_t size = left;
    try {
      if (left < kHeaderWords || instruction[1] < kHeaderWords || instruction[1] > left)
        fail("PROGRAM", "the instruction at word %lld of %lld is not framed; the rest of the batch is dropped",
             static_cast<long long>(at), static_cast<long long>(length));
      size = instruction[1];
      execute(instruction, size);
    } catch (...) {
      // That a slot has no buffer because its alloc failed is no error of the instruction.
      FailurePtr failure = inherited(instruction, size);
      spoil(instruction, size, failure ? failure : caught());
    }
    at += size;
  }
}

void Executor::execute(const int32_t* words, int64_t length) {
  if (words[0] >= kernelCount) return control(words[0] - kernelCount, words, length);
  Instruction& instruction = *scratch_;
  decode(instruction, words, length, buffers_.data(), int32_t(slots_.size()), 0);
  const Call& call = instruction.call;
  for (int i = call.nOut; i < call.nOut + call.nIn; i++) {
    const int32_t slot = instruction.operands[i].slot;
    if (slot >= 0 && slots_[slot].poison) return spoil(words, length, slots_[slot].poison);
  }
  for (int i = 0; i < call.nOut; i++)
    if (instruction.operands[i].slot >= 0) changes(instruction.operands[i].slot);
  instruction.kernel->run(call);
  for (int i = 0; i < call.nOut; i++) {
    const int32_t slot = instruction.operands[i].slot;
    if (slot >= 0) slots_[slot].written = true;
  }
}

// Errors.

// The exception being handled, which becomes the pending error unless there is one.
FailurePtr Executor::caught() {
  auto failure = std::make_shared<Failure>();
  failure->number = ++failures_;
  try {
    throw;
  } catch (const Error& error) {
    failure->code = error.code;
    failure->message = error.what();
  } catch (const std::bad_alloc&) {
    failure->code = "MEMORY";
    failure->message = "out of memory";
  } catch (const std::exception& error) {
    failure->code = "PROGRAM";
    failure->message = error.what();
  }
  if (!pending_) pending_ = failure;
  return failure;
}

// What a failed instruction does to a buffer that it would have written. One that was complete before the error keeps
// its values: weights survive a step that failed.
void Executor::poison(int32_t index, const FailurePtr& failure) {
  Slot& slot = slots_[index];
  if (!slot.poison && (!slot.written || slot.born >= failure->number)) slot.poison = failure;
}

// Poisons the outputs of an instruction that did not run.
void Executor::spoil(const int32_t* words, int64_t length, FailurePtr failure) {
  if (length < kHeaderWords || words[0] >= kernelCount) return;
  eachSlot(words, length, [&](int32_t slot, bool output) {
    if (output && isLive(slot)) poison(slot, failure);
  });
}

// The error of the first slot of an instruction whose alloc failed; null if there is none.
FailurePtr Executor::inherited(const int32_t* words, int64_t length) {
  FailurePtr failure;
  if (length < kHeaderWords || words[0] >= kernelCount) return failure;
  eachSlot(words, length, [&](int32_t slot, bool) {
    if (!failure && isLive(slot) && buffers_[slot].bytes < 0) failure = slots_[slot].poison;
  });
  return failure;
}

void Executor::synchronize() {
  device_->enter();
  device_->synchronize();
  collectFault();
  throwPending();
}

// An error that the device found by itself, after the fact: what was written since is not to be trusted.
void Executor::collectFault() {
  Device::Fault fault;
  if (!device_->fault(fault)) return;
  const FailurePtr failure = std::make_shared<Failure>(Failure{"INDEX", fault.message, ++failures_});
  if (!pending_) pending_ = failure;
  for (Slot& slot : slots_)
    if (slot.live && slot.generation > fault.changes && !slot.poison) slot.poison = failure;
}

void Executor::throwPending() {
  if (!pending_) return;
  const FailurePtr failure = std::move(pending_);
  pending_ = nullptr;
  raise(*failure);
}

// Control instructions.

void Executor::control(int32_t op, const int32_t* words, int64_t length) {
  const int32_t count = words[4];
  const int32_t* attributes = words + kHeaderWords;
  if (op >= kControls) fail("PROGRAM", "there is no op %d", words[0]);
  if (words[2] != 0 || words[3] != 0 || count != length - kHeaderWords)
    fail("PROGRAM", "%s: only attributes are allowed", controlNames[op]);
  if (op == kReplay) return replay(attributes, count);
  constexpr int32_t counts[] = {3, 1, 2};
  if (count != counts[op]) fail("PROGRAM", "%s: %d attributes instead of %d", controlNames[op], count, counts[op]);
  const int32_t slot = attributes[0];
  if (op == kFree) return release(slot);
  occupy(slot);
  try {
    if (op == kAlloc) {
      const int64_t bytes = int64Of(attributes + 1);
      if (bytes < 0) fail("PROGRAM", "alloc: %lld bytes", static_cast<long long>(bytes));
      give(slot, pool_.allocate(bytes), bytes, false);
    } else {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto staged = staged_.find(attributes[1]);
      if (staged == staged_.end()) fail("PROGRAM", "adopt: nothing is staged as %d", attributes[1]);
      give(slot, staged->second.data, staged->second.bytes, true);
      staged_.erase(staged);
    }
  } catch (...) {
    slots_[slot].poison = caught();
  }
}

// Makes a slot live, without a buffer yet.
void Executor::occupy(int32_t slot) {
  if (slot < 0 || slot >= kMaxSlots) fail("PROGRAM", "slot %d is not below %d", slot, kMaxSlots);
  if (isLive(slot)) fail("PROGRAM", "slot %d has a buffer already", slot);
  if (size_t(slot) >= slots_.size()) {
    const size_t size = std::max(size_t(slot) + 1, slots_.size() * 2);
    const size_t old = slots_.size();
    buffers_.resize(size);
    slots_.resize(size);
    for (size_t i = old; i < size; i++) buffers_[i].region = int32_t(i);
  }
  slots_[slot].live = true;
  slots_[slot].written = false;
  slots_[slot].born = failures_;
}

void Executor::give(int32_t slot, char* data, int64_t bytes, bool written) {
  buffers_[slot].data = data;
  buffers_[slot].bytes = slots_[slot].bytes = bytes;
  slots_[slot].written = written;
  changes(slot);
}

void Executor::release(int32_t slot) {
  if (!isLive(slot)) fail("PROGRAM", "free: slot %d has no buffer", slot);
  if (buffers_[slot].data) pool_.release(buffers_[slot].data, slots_[slot].bytes);
  buffers_[slot].data = nullptr;
  buffers_[slot].bytes = -1;
  slots_[slot].live = false;
  if (slots_[slot].poison) slots_[slot].poison = nullptr;
}

// Replay.

void Executor::replay(const int32_t* attributes, int32_t count) {
  std::shared_ptr<Program> program;
  if (count > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = programs_.find(attributes[0]);
    if (found != programs_.end()) program = found->second;
  }
  if (!program) fail("PROGRAM", "replay: no such program is loaded");
  const int32_t* slots = attributes + 1;
  const auto& bound = program->bound();
  if (count != 1 + int64_t(bound.size()) + 2 * int64_t(program->parameters()))
    fail("PROGRAM", "replay: %d attributes for a program of %d bound slots and %d parameters", count,
         int(bound.size()), program->parameters());
  const uint64_t changes = changes_;
  bool clean;
  try {
    clean = bind(*program, slots);
    program->setParameters(slots + bound.size());
  } catch (...) {
    const FailurePtr failure = caught();
    for (size_t i = 0; i < bound.size(); i++)
      if (bound[i].written && isLive(slots[i])) poison(slots[i], failure);
    return;
  }
  if (!clean) return replayAround(*program, slots, 0, nullptr);
  const std::vector<Node>& nodes = program->nodes();
  size_t next = 0;
  const auto run = [&] {
    for (next = 0; next < nodes.size(); next++) {
      if (interrupted_.load(std::memory_order_relaxed)) return;
      nodes[next].kernel->run(nodes[next].call);
    }
  };
  try {
    if (!device_->replay(*program, changes, run)) run();
  } catch (...) {
    // Nodes that all ran while a graph was made of them wrote nothing yet: its launch failed.
    return replayAround(*program, slots, next < nodes.size() ? next : 0, caught());
  }
  for (size_t i = 0; i < bound.size(); i++)
    if (bound[i].written) slots_[slots[i]].written = true;
}

// Points the program at the buffers of these slots; false when one of them is spoilt.
bool Executor::bind(Program& program, const int32_t* slots) {
  replays_++;
  bool clean = true;
  auto& bound = program.bound();
  for (size_t i = 0; i < bound.size(); i++) {
    const int32_t index = slots[i];
    if (!isLive(index)) fail("PROGRAM", "replay: slot %d has no buffer", index);
    Slot& slot = slots_[index];
    if (slot.bound == replays_ && (bound[i].written || bound[slot.boundAs].written))
      fail("PROGRAM", "replay: slot %d is bound twice and written", index);
    slot.bound = replays_;
    slot.boundAs = int32_t(i);
    if (slot.poison) {
      clean = false;
      if (buffers_[index].bytes < 0) continue;
    }
    if (buffers_[index].bytes < bound[i].bytes)
      fail("PROGRAM", "replay: slot %d has %lld bytes, %lld are needed", index,
           static_cast<long long>(buffers_[index].bytes), static_cast<long long>(bound[i].bytes));
    if (bound[i].written) changes(index);
    const uint64_t generation = bound[i].written ? 0 : slot.generation;
    if (buffers_[index].data != bound[i].data || generation != bound[i].generation)
      program.bind(bound[i], buffers_[index].data, generation);
  }
  return clean;
}

// The rest of a replay in which something went wrong: as in an eager batch, node by node, what does not depend on a
// spoilt buffer still runs. `failure`, if any, is that of node `from`.
void Executor::replayAround(Program& program, const int32_t* slots, size_t from, FailurePtr failure) {
  const std::vector<Node>& nodes = program.nodes();
  std::vector<FailurePtr> arena(size_t(program.slots()));
  const auto eachOutput = [&](const Node& node, auto visit) {
    for (int i = 0; i < node.call.nOut; i++) {
      const int32_t slot = program.operand(node, i).slot;
      if (slot >= 0) visit(slot, program.boundOf(slot));
    }
  };
  const auto written = [&](const Node& node) {
    eachOutput(node, [&](int32_t, int32_t bound) {
      if (bound >= 0) slots_[slots[bound]].written = true;
    });
  };
  for (size_t n = 0; n < from; n++) written(nodes[n]);
  for (size_t n = from; n < nodes.size() && !interrupted_.load(std::memory_order_relaxed); n++) {
    const Node& node = nodes[n];
    for (int i = 0; i < node.call.nOut + node.call.nIn && !failure; i++) {
      const int32_t slot = program.operand(node, i).slot;
      if (slot < 0) continue;
      const int32_t bound = program.boundOf(slot);
      const bool output = i < node.call.nOut;
      if (bound < 0) {
        if (!output) failure = arena[slot];
      } else if (!output || buffers_[slots[bound]].bytes < 0) {
        failure = slots_[slots[bound]].poison;
      }
    }
    if (!failure) {
      try {
        node.kernel->run(node.call);
        written(node);
      } catch (...) {
        failure = caught();
      }
    }
    if (failure) {
      eachOutput(node, [&](int32_t slot, int32_t bound) {
        if (bound < 0) arena[slot] = failure;
        else poison(slots[bound], failure);
      });
      failure = nullptr;
    }
  }
}

// Host data and programs.

void Executor::read(int32_t slot, int64_t offset, void* to, int64_t bytes) {
  device_->enter();
  collectFault();
  throwPending();
  if (!isLive(slot)) fail("DISPOSED", "slot %d has no buffer", slot);
  if (slots_[slot].poison) raise(*slots_[slot].poison);
  const Buffer& buffer = buffers_[slot];
  if (offset < 0 || bytes > buffer.bytes || offset > buffer.bytes - bytes)
    fail("PROGRAM", "read: %lld bytes at %lld of a buffer of %lld", static_cast<long long>(bytes),
         static_cast<long long>(offset), static_cast<long long>(buffer.bytes));
  if (bytes > 0) device_->read(to, buffer.data + offset, bytes);
}

int32_t Executor::stage(const void* from, int64_t bytes) {
  device_->enter();
  Block block(pool_, bytes);
  if (bytes > 0) device_->write(block.data(), from, bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  const int32_t id = nextStaged_;
  staged_[id] = {block.data(), bytes};
  block.detach();
  nextStaged_ = id == INT32_MAX ? 1 : id + 1;
  return id;
}

int32_t Executor::load(const int32_t* words, int64_t length) {
  device_->enter();  // whose memory the program's lies in
  auto program = std::make_shared<Program>(words, length, *device_);
  std::lock_guard<std::mutex> lock(mutex_);
  const int32_t id = nextProgram_++;
  programs_.emplace(id, std::move(program));
  return id;
}

void Executor::unload(int32_t id) {
  std::shared_ptr<Program> program;  // dies after the lock is gone
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = programs_.find(id);
  if (found == programs_.end()) return;
  program = std::move(found->second);
  programs_.erase(found);
}

}  // namespace nabla
