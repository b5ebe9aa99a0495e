#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backends/target.h"
#include "gateway/policy/config_error.h"

namespace sallyport::gateway {

enum class EndpointState {
  kReady,
  kDraining,  ///< no new connections, those that are stay
  kDown,      ///< no new connections
};
std::string_view to_string(EndpointState state);

/// The labels that the targets of one group share; immutable and shared by them.
struct GroupLabels {
  std::uint32_t weight = 100;  ///< 0-65535; 0 = no new connections
  EndpointState state = EndpointState::kReady;
  std::string zone;      ///< empty = none
  std::string tls_name;  ///< empty = none

  bool operator==(const GroupLabels&) const = default;
};

struct DiscoveredTarget {
  Target target;
  std::string text;  ///< as written; the `backend` of logs and metrics
  std::shared_ptr<const GroupLabels> labels;
};

struct DiscoveredRoute {
  std::string name;
  unsigned line = 0;  ///< of the group that first named it
  std::vector<DiscoveredTarget> targets;
};

/// A discovery file that was read without an error. A value, immutable by convention.
struct Discovery {
  std::string file;
  std::vector<DiscoveredRoute> routes;  ///< in the order in which the file first names them
  std::size_t ignored_groups = 0;       ///< groups without a `route` label

  const DiscoveredRoute* find(std::string_view route) const;
  std::vector<std::string> route_labels() const;
  std::set<std::string> host_names() const;  ///< to be resolved
};

/// Reads a discovery file: Prometheus' file_sd JSON with reserved labels. All or nothing: the error
/// names file, line and key. As in Prometheus, `targets` and `labels` may be absent or null, labels
/// are strings, and unknown keys of a group are errors. Groups without `route` are checked for this
/// form only. `file` is kept and used for errors.
std::expected<Discovery, ConfigError> parse_discovery(std::string_view text, std::string_view file);

struct UpdateLimits {
  bool allow_empty = false;            ///< --discovery-allow-empty
  unsigned max_removal_percent = 100;  ///< --discovery-max-removal
};

/// Whether `next` may replace `previous`: refused if a route that had targets is left with none
/// (unless allowed), or loses more than the percentage of its targets at once. The error carries
/// the file of `next` and "route NAME" as key.
std::expected<void, ConfigError> check_update(const Discovery& previous, const Discovery& next,
                                              const UpdateLimits& limits);

}  // namespace sallyport::gateway
