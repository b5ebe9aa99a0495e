// The line that says what started.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "gateway/run/config.h"
#include "gateway/run/options.h"

namespace sallyport::gateway {

/// The first of our own certificates that expires.
struct SoonestExpiry {
  std::chrono::sys_seconds at;
  std::string file;
};
/// Of all routes; nothing: there is no certificate. `config` is complete().
[[nodiscard]] std::optional<SoonestExpiry> soonest_expiry(const Config& config);

/// Targets of the discovery file that belong to a route of the policy.
[[nodiscard]] std::size_t reachable_targets(const Config& config);

/// Logs it: program and commit, shards, routes, endpoints, the soonest expiry, where records are
/// made, OpenSSL and kernel.
void log_started(const Options& options, const Config& config, const RecordChoice& records,
                 std::size_t shards);

}  // namespace sallyport::gateway
