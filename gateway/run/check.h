#pragma once

#include "gateway/run/options.h"

namespace sallyport::gateway {

/// --check: reads and checks every file, probes the kernel for what --records needs, and prints
/// what is wrong or that nothing is. Changes nothing and listens on nothing. Returns the exit code.
[[nodiscard]] int check(const Options& options);

/// Prints what is wrong with the flags, and with the files and addresses that those name which are
/// right, so that all is mended at once. Returns the exit code.
[[nodiscard]] int refuse(const RefusedOptions& refused);

}  // namespace sallyport::gateway
