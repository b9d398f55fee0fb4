// What the twins of sm_90's units (hopper.cc) and the machine that runs blocks (shim.cc) ask of each other.
#pragma once
#include <cstddef>
#include <cstdint>

namespace shim {

// shim.cc
unsigned currentThread();                               // of the block
unsigned char* sharedAt(uint32_t address, size_t bytes);  // of shared memory; faults outside of it
void pauseForBarrier(uint32_t barrier, uint32_t parity);  // until barrierOver

// hopper.cc
bool barrierOver(uint32_t barrier, uint32_t parity);
bool deliverCopy();              // lets one of the copies under way arrive; false when there is none
void endBlock(const char* name);  // nothing may be under way

}  // namespace shim
