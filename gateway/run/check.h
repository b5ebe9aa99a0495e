#pragma once

#include "gateway/run/options.h"

namespace sallyport::gateway {

/// --check: reads and checks every file, probes the kernel for what --records needs, and prints
/// what is wrong or that nothing is. Changes nothing and listens on nothing. Returns the exit code.
[[nodiscard]] int check(const Options& options);

}  // namespace sallyport::gateway
