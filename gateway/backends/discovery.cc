#include "gateway/backends/discovery.h"

#include <algorithm>
#include <cstdlib>

#include "gateway/backends/file_sd.h"
#include "gateway/backends/load_assignment.h"
#include "gateway/backends/yaml_document.h"
#include "gateway/policy/json_document.h"
#include "ktls/base/ascii.h"

namespace sallyport::gateway {

std::string_view to_string(EndpointState state) {
  switch (state) {
    case EndpointState::kReady:
      return "ready";
    case EndpointState::kDraining:
      return "draining";
    case EndpointState::kDown:
      return "down";
  }
  std::abort();
}

bool DiscoveredTarget::operator==(const DiscoveredTarget& other) const {
  return target == other.target && text == other.text && *labels == *other.labels;
}

const DiscoveredRoute* Discovery::find(std::string_view route) const {
  const auto found = std::ranges::find(routes, route, &DiscoveredRoute::name);
  return found == routes.end() ? nullptr : &*found;
}

std::vector<std::string> Discovery::route_labels() const {
  std::vector<std::string> labels;
  labels.reserve(routes.size());
  for (const DiscoveredRoute& route : routes) labels.push_back(route.name);
  return labels;
}

std::vector<const DiscoveredRoute*> Discovery::refused() const {
  std::vector<const DiscoveredRoute*> refused;
  for (const DiscoveredRoute& route : routes) {
    if (route.refused) refused.push_back(&route);
  }
  return refused;
}

std::set<std::string> Discovery::host_names() const {
  std::set<std::string> names;
  for (const DiscoveredRoute& route : routes) {
    for (const DiscoveredTarget& target : route.targets) {
      if (target.target.kind == Target::Kind::kName) names.insert(target.target.host);
    }
  }
  return names;
}

std::expected<Discovery, ConfigError> parse_discovery(std::string_view text,
                                                      std::string_view file) {
  const std::string ending = ktls::ascii_lower(file.substr(std::min(file.rfind('.'), file.size())));
  const bool yaml = ending == ".yml" || ending == ".yaml";
  const auto root = yaml ? parse_yaml(text, file) : parse_json(text, file);
  if (!root) return std::unexpected(root.error());
  return has_load_assignments(*root) ? read_load_assignments(*root, file)
                                     : read_file_sd(*root, file);
}

}  // namespace sallyport::gateway
