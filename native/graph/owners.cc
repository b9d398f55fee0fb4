// See owners.h.
#include "owners.h"

namespace nabla {

namespace {

// Looking at a reference makes a handle: few at a time.
class HandleScope {
 public:
  explicit HandleScope(napi_env env) : env_(env) { napi_open_handle_scope(env_, &scope_); }
  ~HandleScope() { napi_close_handle_scope(env_, scope_); }
  HandleScope(const HandleScope&) = delete;
  HandleScope& operator=(const HandleScope&) = delete;

 private:
  napi_env env_;
  napi_handle_scope scope_ = nullptr;
};

constexpr size_t kHandles = 512;

void drop(napi_env env, napi_ref& reference) {
  if (reference) napi_delete_reference(env, reference);
  reference = nullptr;
}

}  // namespace

bool Owners::alive(napi_ref reference) {
  napi_value value = nullptr;
  return napi_get_reference_value(env_, reference, &value) == napi_ok && value != nullptr;
}

bool Owners::track(int32_t slot, napi_value owner) {
  untrack(slot);
  if (size_t(slot) >= entries_.size()) entries_.resize(size_t(slot) + 1 + entries_.size());
  Entry& entry = entries_[slot];
  if (napi_create_reference(env_, owner, 0, &entry.reference) != napi_ok) return false;
  entry.serial = ++serial_;
  young_.push_back({slot, entry.serial, 0});
  if (!youngSentinel_) youngSentinel_ = plant(0);
  return true;
}

void Owners::untrack(int32_t slot) {
  if (slot >= 0 && size_t(slot) < entries_.size()) drop(env_, entries_[slot].reference);
}

napi_ref Owners::plant(uint32_t count) {
  HandleScope scope(env_);
  napi_value object;
  napi_ref reference = nullptr;
  if (napi_create_object(env_, &object) == napi_ok) napi_create_reference(env_, object, count, &reference);
  return reference;
}

// To be asked once after each collection: was it a full one?
bool Owners::fullCollection() {
  bool full = false;
  if (!old_.empty() && old_[0].age >= kOld) {
    HandleScope scope(env_);
    full = !alive(old_[0].reference);
  }
  if (full) {
    drop(env_, old_[0].reference);
    old_.erase(old_.begin());
  }
  const bool released = !full && !old_.empty() && old_[0].age >= kOld;
  for (Sentinel& sentinel : old_) sentinel.age++;
  while (old_.size() < kSentinels) {
    const napi_ref reference = plant(1);
    if (!reference) break;
    old_.push_back({reference, 0});
  }
  uint32_t count;
  if (!released && !old_.empty() && old_[0].age >= kOld) napi_reference_unref(env_, old_[0].reference, &count);
  return full;
}

void Owners::collect(int32_t slot, std::vector<int32_t>& dead) {
  napi_ref& reference = entries_[slot].reference;
  if (!reference || alive(reference)) return;
  drop(env_, reference);
  dead.push_back(slot);
}

std::vector<int32_t> Owners::sweep() {
  std::vector<int32_t> dead;
  if (!youngSentinel_) return dead;
  {
    HandleScope scope(env_);
    if (alive(youngSentinel_)) return dead;
  }
  drop(env_, youngSentinel_);
  youngSentinel_ = plant(0);
  if (fullCollection()) {
    for (size_t slot = 0; slot < entries_.size();) {
      HandleScope scope(env_);
      const size_t end = slot + kHandles;
      for (; slot < end && slot < entries_.size(); slot++) collect(int32_t(slot), dead);
    }
    young_.clear();  // who survived this is old
    return dead;
  }
  size_t kept = 0;
  for (size_t i = 0; i < young_.size();) {
    HandleScope scope(env_);
    const size_t end = i + kHandles;
    for (; i < end && i < young_.size(); i++) {
      Young entry = young_[i];
      if (entries_[entry.slot].serial != entry.serial || !entries_[entry.slot].reference) continue;
      collect(entry.slot, dead);
      if (entries_[entry.slot].reference && ++entry.age < kOld) young_[kept++] = entry;
    }
  }
  young_.resize(kept);
  return dead;
}

void Owners::clear() {
  for (Entry& entry : entries_) drop(env_, entry.reference);
  drop(env_, youngSentinel_);
  for (Sentinel& sentinel : old_) drop(env_, sentinel.reference);
  old_.clear();
  entries_.clear();
  young_.clear();
}

}  // namespace nabla
