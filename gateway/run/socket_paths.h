// Unix sockets that are listened on, compared by what their paths lead to.
#pragma once

#include <optional>
#include <string>

#include "gateway/run/options.h"

namespace sallyport::gateway {

/// Names two flags of --egress and --admin whose paths lead to one file, through whatever `..`,
/// symbolic links and mounts; nothing if there are none. Looks at directories: one that cannot be
/// looked at is not compared, and bind(2) refuses it.
[[nodiscard]] std::optional<std::string> find_shared_socket(const Options& options);

}  // namespace sallyport::gateway
