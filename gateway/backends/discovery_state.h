// A discovery as text, to be kept for a later start.
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include "gateway/backends/discovery.h"
#include "gateway/policy/config_error.h"

namespace sallyport::gateway {

/// A discovery that was in force, and when it was so last.
struct KeptDiscovery {
  Discovery discovery;
  std::chrono::sys_seconds as_of;

  bool operator==(const KeptDiscovery&) const = default;
};

/// As JSON with the version of this form. Routes that are refused
/// have the targets that they kept.
[[nodiscard]] std::string discovery_state(const Discovery& discovery,
                                          std::string_view discovery_file,
                                          std::chrono::sys_seconds as_of);

/// Reads it back: `file` is then the state's, and there are no refusals, warnings and ignored
/// groups, which belong to the file that was read then. The error names `state_file`: it is broken,
/// of another version, or of another discovery file than `discovery_file`.
[[nodiscard]] std::expected<KeptDiscovery, ConfigError> parse_discovery_state(
    std::string_view text, std::string_view state_file, std::string_view discovery_file);

}  // namespace sallyport::gateway
