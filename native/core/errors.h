// The one exception type that native code throws; addon.cc turns it into a JavaScript error with its code.
#pragma once
#include <stdexcept>
#include <string>

namespace nabla {

struct Error : std::runtime_error {
  const char* code;  // "PROGRAM", "INDEX", "MEMORY", "DISPOSED": a string literal
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
};

[[noreturn]]
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void fail(const char* code, const char* format, ...);

}  // namespace nabla
