// Weak references to the JavaScript objects that own buffers: which of them did the garbage collector take?
#pragma once
#include <node_api.h>

#include <cstdint>
#include <vector>

namespace nabla {

// JavaScript's own means, FinalizationRegistry and WeakRef, report only after the running job; a synchronous loop would
// fill the memory before. Node-API's weak references become empty in the collection itself.
class Owners {
 public:
  explicit Owners(napi_env env) : env_(env) {}

  bool track(int32_t slot, napi_value owner);  // instead of the slot's former owner, if any; false: not an object
  void untrack(int32_t slot);
  // Slots whose owners were collected since the last call, which are no longer tracked then. Looks only when a collection
  // happened in between.
  std::vector<int32_t> sweep();
  void clear();

 private:
  // Most objects die young, and collections of the young generation are a hundred times as frequent as full ones. So
  // a new reference is looked at after each of the next few collections, and from then on, when its owner is likely to
  // be old, only after full ones, which a sentinel that has grown old itself tells.
  struct Entry {
    napi_ref reference = nullptr;
    uint32_t serial = 0;  // tells this owner from the slot's former ones
  };
  struct Young {
    int32_t slot;
    uint32_t serial;
    int age;
  };
  static constexpr int kOld = 3;  // V8 promotes what has survived two collections of the young generation

  struct Sentinel {
    napi_ref reference;
    int age;  // collections since it was planted
  };
  static constexpr size_t kSentinels = kOld + 2;

  napi_ref plant(uint32_t count);
  bool fullCollection();
  bool alive(napi_ref reference);
  void collect(int32_t slot, std::vector<int32_t>& dead);

  napi_env env_;
  std::vector<Entry> entries_;  // by slot
  std::vector<Young> young_;
  uint32_t serial_ = 0;
  napi_ref youngSentinel_ = nullptr;
  std::vector<Sentinel> old_;  // the first is released once it is old; the others grow old to succeed it
};

}  // namespace nabla
