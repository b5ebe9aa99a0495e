#pragma once

#include <string>

#include "gateway/run/config.h"
#include "gateway/run/options.h"

namespace sallyport::gateway {

/// What --check read, a line each: routes and targets, certificates, anchors and CRLs with their
/// dates, the flags that are in effect. `config` is complete().
[[nodiscard]] std::string check_summary(const Options& options, const Config& config);

}  // namespace sallyport::gateway
