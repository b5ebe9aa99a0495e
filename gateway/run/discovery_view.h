#pragma once

#include "gateway/observe/discovery_json.h"
#include "gateway/run/config.h"
#include "gateway/run/options.h"

namespace sallyport::gateway {

/// What /discovery shows after the latest reload. Control thread only; `config` is complete().
[[nodiscard]] DiscoveryView discovery_view(const Config& config, const Options& options);

}  // namespace sallyport::gateway
