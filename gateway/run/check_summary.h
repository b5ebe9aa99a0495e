#pragma once

#include <string>

#include "gateway/connection/record_choice.h"
#include "gateway/run/config.h"
#include "gateway/run/options.h"

namespace sallyport::gateway {

/// What would run, a line each: listeners, routes with their targets and clients, certificates,
/// anchors and CRLs with their dates, shards, where records are made, the flags that are in effect.
/// `config` is complete().
[[nodiscard]] std::string check_summary(const Options& options, const Config& config,
                                        const RecordChoice& records);

}  // namespace sallyport::gateway
