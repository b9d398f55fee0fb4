// Loading: the slot table, then every instruction through the decoder of the eager stream.
#include "program.h"

namespace nabla {

namespace {

constexpr int32_t kMagic = 0x4E424C31;
constexpr int64_t kProgramHeader = 7;
constexpr int64_t kSlotWords = 5;

// Regions: the arena is one, every bound slot another.
constexpr int32_t kArenaRegion = 0;

}  // namespace

Program::Program(const int32_t* words, int64_t length, Device& device)
    : device_(device), words_(words, words + length) {
  const int64_t at = readTable(words_.data(), length);
  if (arenaBytes_ > 0) arena_ = std::make_unique<Block>(device.pool(), arenaBytes_);
  for (int32_t slot = 0; slot < slots(); slot++)
    if (boundOf_[slot] < 0 && arena_) buffers_[slot].data = arena_->data() + buffers_[slot].base;
  readNodes(at);
}

int64_t Program::readTable(const int32_t* words, int64_t length) {
  if (length < kProgramHeader || words[0] != kMagic) fail("PROGRAM", "this is not a program");
  if (words[1] != length) fail("PROGRAM", "a program of %d words came as %lld", words[1], static_cast<long long>(length));
  const int32_t nSlots = words[2];
  parameters_ = words[3];
  arenaBytes_ = int64Of(words + 4);
  if (nSlots < 0 || nSlots > (length - kProgramHeader) / kSlotWords) fail("PROGRAM", "%d slots", nSlots);
  if (parameters_ < 0 || parameters_ > length) fail("PROGRAM", "%d parameters", parameters_);
  if (arenaBytes_ < 0) fail("PROGRAM", "the arena has %lld bytes", static_cast<long long>(arenaBytes_));
  buffers_.resize(nSlots);
  boundOf_.resize(nSlots);
  for (int32_t slot = 0; slot < nSlots; slot++) {
    const int32_t* row = words + kProgramHeader + slot * kSlotWords;
    const int64_t bytes = int64Of(row + 1), offset = int64Of(row + 3);
    if (bytes < 0) fail("PROGRAM", "slot %d has %lld bytes", slot, static_cast<long long>(bytes));
    if (row[0] == 0) {
      if (offset != 0) fail("PROGRAM", "slot %d is bound but has an arena offset", slot);
      boundOf_[slot] = int32_t(bound_.size());
      bound_.push_back({slot, bytes, nullptr, 0, false, {}});
      buffers_[slot] = {nullptr, bytes, 0, 1 + slot};
    } else if (row[0] == 1) {
      if (offset < 0 || offset % 64 != 0 || offset > arenaBytes_ || bytes > arenaBytes_ - offset)
        fail("PROGRAM", "slot %d lies outside the arena", slot);
      boundOf_[slot] = -1;
      buffers_[slot] = {nullptr, bytes, offset, kArenaRegion};
    } else {
      fail("PROGRAM", "slot %d is of kind %d", slot, row[0]);
    }
  }
  return kProgramHeader + nSlots * kSlotWords;
}

void Program::readNodes(int64_t at) {
  const int64_t length = int64_t(words_.size());
  const int32_t count = words_[6];
  if (count < 0 || count > (length - at) / kHeaderWords) fail("PROGRAM", "%d instructions", count);
  nodes_.reserve(count);
  const auto scratch = std::make_unique<Instruction>();
  for (int32_t n = 0; n < count; n++) {
    const int32_t* words = words_.data() + at;
    if (length - at < kHeaderWords || words[1] < kHeaderWords || words[1] > length - at)
      fail("PROGRAM", "instruction %d reaches beyond the program", n);
    decode(*scratch, words, words[1], buffers_.data(), slots(), parameters_);
    at += words[1];
    const Call& call = scratch->call;
    nodes_.push_back({scratch->kernel, call, int32_t(views_.size())});
    for (int i = 0; i < call.nOut + call.nIn; i++) {
      const int32_t view = int32_t(views_.size());
      const Operand& operand = scratch->operands[i];
      views_.push_back(scratch->views[i]);
      operands_.push_back(operand);
      inlined_.push_back(scratch->inlined[i]);
      if (operand.parameter >= 0) uses_.push_back({view, operand.parameter});
      if (operand.slot >= 0 && boundOf_[operand.slot] >= 0) {
        Bound& bound = bound_[boundOf_[operand.slot]];
        if (operand.region >= 0) bound.views.push_back(view);
        if (i < call.nOut) bound.written = true;
      }
    }
  }
  if (at != length) fail("PROGRAM", "%lld words are left over", static_cast<long long>(length - at));
  // Everything is in its final place: now the addresses.
  kept_.resize(nodes_.size());
  for (Node& node : nodes_) {
    node.call.keep = &kept_[size_t(&node - nodes_.data())];
    node.call.pool = &device_.pool();
    node.call.out = views_.data() + node.operands;
    node.call.in = node.call.out + node.call.nOut;
  }
  for (size_t i = 0; i < views_.size(); i++)
    if (operands_[i].slot < 0 && views_[i].present) views_[i].data = reinterpret_cast<char*>(&inlined_[i]);
  if (device_.readsHost() || uses_.empty()) return;
  values_.resize(uses_.size());
  numbers_ = std::make_unique<Block>(device_.pool(), int64_t(uses_.size() * sizeof values_[0]));
  for (size_t i = 0; i < uses_.size(); i++) {
    View& view = views_[uses_[i].view];
    view.inlined = false;
    view.data = numbers_->data() + i * sizeof values_[0];
  }
}

void Program::bind(Bound& slot, char* data, uint64_t generation) {
  slot.data = data;
  slot.generation = generation;
  for (const int32_t view : slot.views) {
    views_[view].data = data + operands_[view].offset;
    views_[view].generation = generation;
  }
}

void Program::setParameters(const int32_t* words) {
  const auto store = [&](void* to, const Use& use) {
    storeNumber(to, views_[use.view].dtype, float64Of(words + 2 * int64_t(use.parameter)));
  };
  if (!numbers_) {
    for (const Use& use : uses_) store(&inlined_[use.view], use);
    return;
  }
  for (size_t i = 0; i < uses_.size(); i++) store(&values_[i], uses_[i]);
  device_.write(numbers_->data(), values_.data(), numbers_->bytes());
}

}  // namespace nabla
