// Mistakes on purpose.
#pragma once
#include <string>

namespace shim {

// Runs a kernel with the mistake of that name; what the shim says about it, "wrong" for a wrong result, or nothing.
std::string planted(const std::string& name);

}  // namespace shim
