#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
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
  std::string zone = {};      ///< empty = none
  std::string tls_name = {};  ///< empty = none
  /// Whom it must prove to be: an IdentityPattern without wildcard, in its canonical text. Empty =
  /// none.
  std::string tls_id = {};

  bool operator==(const GroupLabels&) const = default;
};

struct DiscoveredTarget {
  Target target;
  std::string text;  ///< as written; the `backend` of logs and metrics
  std::shared_ptr<const GroupLabels> labels;

  bool operator==(const DiscoveredTarget& other) const;
};

struct DiscoveredRoute {
  std::string name;
  unsigned line = 0;  ///< of the group that first named it
  std::vector<DiscoveredTarget> targets;
  /// Why what the file says of this route is not in force. Names file, line and key.
  std::optional<ConfigError> refused = std::nullopt;

  bool operator==(const DiscoveredRoute&) const = default;
};

/// A discovery file that was read. A value, immutable by convention.
struct Discovery {
  std::string file;
  std::vector<DiscoveredRoute> routes;  ///< in the order in which the file first names them
  std::size_t ignored_groups = 0;       ///< groups without a `route` label
  std::vector<ConfigError> warnings;    ///< of a route each kind once

  const DiscoveredRoute* find(std::string_view route) const;
  std::vector<std::string> route_labels() const;
  std::set<std::string> host_names() const;             ///< to be resolved
  std::vector<const DiscoveredRoute*> refused() const;  ///< they live as long as this object

  bool operator==(const Discovery&) const = default;
};

/// Reads a discovery file, YAML if the name of the file ends in .yml or .yaml (yaml_document.h) and
/// JSON otherwise: Prometheus' file_sd with reserved labels, or Envoy's load assignments
/// (load_assignment.h). As in Prometheus, `targets` and `labels` may be absent or null, labels are
/// strings, and unknown keys of a group are errors. Groups without `route`, or with an empty one,
/// are checked for this form only. `file` is kept and used for errors.
///
/// An error in a group with a route refuses that route, which then has no targets. The error of
/// the function refuses the file: it is no JSON, or a group has no form by which its route could be
/// known.
std::expected<Discovery, ConfigError> parse_discovery(std::string_view text, std::string_view file);

}  // namespace sallyport::gateway
