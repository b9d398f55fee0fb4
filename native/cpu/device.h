// The CPU as a device.
#pragma once
#include <memory>

#include "../graph/device.h"

namespace nabla {

std::unique_ptr<Device> openCpu();

}  // namespace nabla
