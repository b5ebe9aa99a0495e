#include "gateway/backends/discovery.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "gateway/policy/host_name.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/number.h"

namespace sallyport::gateway {
namespace {

constexpr EndpointState kStates[] = {EndpointState::kReady, EndpointState::kDraining,
                                     EndpointState::kDown};
constexpr unsigned kMaxWeight = 65535;

using Outcome = std::expected<void, ConfigError>;

class DiscoveryReader {
 public:
  explicit DiscoveryReader(std::string_view file) { discovery_.file = file; }

  std::expected<Discovery, ConfigError> read(const JsonValue& root);

 private:
  std::unexpected<ConfigError> refuse(unsigned line, std::string key, std::string what) const {
    return std::unexpected(ConfigError{discovery_.file, line, std::move(key), std::move(what)});
  }

  Outcome read_group(const JsonValue& group, const std::string& key);
  Outcome check_targets(const JsonValue* targets, const std::string& key) const;
  Outcome check_labels(const JsonValue* labels, const std::string& key) const;
  Outcome read_label(GroupLabels& labels, const JsonMember& label, const std::string& key) const;
  Outcome read_targets(std::size_t route, const JsonValue& targets, const std::string& key,
                       const std::shared_ptr<const GroupLabels>& labels);
  std::size_t route_of(const std::string& name, unsigned line);

  Discovery discovery_;
  std::unordered_map<std::string, std::size_t> route_indexes_;
  // For each route: canonical target to line.
  std::vector<std::unordered_map<std::string, unsigned>> seen_;
};

std::expected<Discovery, ConfigError> DiscoveryReader::read(const JsonValue& root) {
  const JsonValue::Array* groups = root.array();
  if (!groups) {
    return refuse(root.line, "", "must be an array of groups, not " + std::string(root.kind()));
  }
  for (std::size_t i = 0; i < groups->size(); ++i) {
    auto read = read_group((*groups)[i], "[" + std::to_string(i) + "]");
    if (!read) return std::unexpected(std::move(read.error()));
  }
  return std::move(discovery_);
}

Outcome DiscoveryReader::read_group(const JsonValue& group, const std::string& key) {
  const JsonValue::Object* members = group.object();
  if (!members) {
    return refuse(
        group.line, key,
        "must be an object with \"targets\" and \"labels\", not " + std::string(group.kind()));
  }
  for (const JsonMember& member : *members) {
    if (member.key == "targets" || member.key == "labels") continue;
    return refuse(member.line, key + "." + printable(member.key), "unknown key");
  }
  const JsonValue* targets = group.find("targets");
  const JsonValue* labels = group.find("labels");
  if (auto checked = check_targets(targets, key + ".targets"); !checked) return checked;
  if (auto checked = check_labels(labels, key + ".labels"); !checked) return checked;

  const JsonValue* route = labels ? labels->find("route") : nullptr;
  if (!route) {
    ++discovery_.ignored_groups;
    return {};
  }
  if (!is_route_name(*route->string())) {
    return refuse(route->line, key + ".labels.route",
                  "a route's name has 1 to 255 bytes and no control characters");
  }
  auto group_labels = std::make_shared<GroupLabels>();
  for (const JsonMember& label : *labels->object()) {
    auto read = read_label(*group_labels, label, key + ".labels." + printable(label.key));
    if (!read) return read;
  }
  const std::size_t index = route_of(*route->string(), route->line);
  if (!targets || targets->is_null()) return {};
  return read_targets(index, *targets, key + ".targets", group_labels);
}

Outcome DiscoveryReader::check_targets(const JsonValue* targets, const std::string& key) const {
  if (!targets || targets->is_null()) return {};
  const JsonValue::Array* items = targets->array();
  if (!items) {
    return refuse(targets->line, key,
                  "must be an array of strings, not " + std::string(targets->kind()));
  }
  for (std::size_t i = 0; i < items->size(); ++i) {
    const JsonValue& item = (*items)[i];
    if (item.string()) continue;
    return refuse(item.line, key + "[" + std::to_string(i) + "]",
                  "must be a string, not " + std::string(item.kind()));
  }
  return {};
}

Outcome DiscoveryReader::check_labels(const JsonValue* labels, const std::string& key) const {
  if (!labels || labels->is_null()) return {};
  const JsonValue::Object* members = labels->object();
  if (!members) {
    return refuse(labels->line, key, "must be an object, not " + std::string(labels->kind()));
  }
  for (const JsonMember& label : *members) {
    if (label.value.string()) continue;
    return refuse(label.value.line, key + "." + printable(label.key),
                  "must be a string, not " + std::string(label.value.kind()));
  }
  return {};
}

Outcome DiscoveryReader::read_label(GroupLabels& labels, const JsonMember& label,
                                    const std::string& key) const {
  const std::string& value = *label.value.string();
  if (label.key == "route") return {};
  if (label.key == "weight") {
    const auto weight = parse_number<unsigned>(value);
    if (!weight || *weight > kMaxWeight)
      return refuse(label.value.line, key, "must be a number from 0 to 65535");
    labels.weight = *weight;
    return {};
  }
  if (label.key == "state") {
    const auto state =
        std::ranges::find(kStates, value, [](EndpointState s) { return to_string(s); });
    if (state == std::end(kStates)) {
      return refuse(label.value.line, key, "must be one of ready, draining, down");
    }
    labels.state = *state;
    return {};
  }
  if (label.key == "zone") {
    labels.zone = value;
    return {};
  }
  if (label.key == "tls_name") {
    if (!is_host_name(value, Underscore::kAllowed) && !is_ip_literal(value)) {
      return refuse(label.value.line, key, "must be a host name or an IP address");
    }
    labels.tls_name = value;
  }
  return {};
}

std::size_t DiscoveryReader::route_of(const std::string& name, unsigned line) {
  const auto [found, fresh] = route_indexes_.emplace(name, discovery_.routes.size());
  if (fresh) {
    discovery_.routes.push_back({name, line, {}});
    seen_.emplace_back();
  }
  return found->second;
}

Outcome DiscoveryReader::read_targets(std::size_t route, const JsonValue& targets,
                                      const std::string& key,
                                      const std::shared_ptr<const GroupLabels>& labels) {
  const JsonValue::Array& items = *targets.array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const JsonValue& item = items[i];
    const auto place = [&] { return key + "[" + std::to_string(i) + "]"; };
    auto target = Target::parse(*item.string());
    if (!target) return refuse(item.line, place(), std::move(target.error()));
    const auto [first, fresh] = seen_[route].emplace(target->canonical(), item.line);
    if (!fresh) {
      return refuse(item.line, place(),
                    "'" + printable(*item.string()) + "' is in route '" +
                        printable(discovery_.routes[route].name) + "' already, on line " +
                        std::to_string(first->second));
    }
    discovery_.routes[route].targets.push_back({std::move(*target), *item.string(), labels});
  }
  return {};
}

}  // namespace

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
  const auto root = parse_json(text, file);
  if (!root) return std::unexpected(root.error());
  return DiscoveryReader(file).read(*root);
}

std::expected<void, ConfigError> check_update(const Discovery& previous, const Discovery& next,
                                              const UpdateLimits& limits) {
  std::unordered_map<std::string_view, const DiscoveredRoute*> next_routes;
  for (const DiscoveredRoute& route : next.routes) next_routes.emplace(route.name, &route);
  for (const DiscoveredRoute& before : previous.routes) {
    if (before.targets.empty()) continue;
    const auto found = next_routes.find(before.name);
    const DiscoveredRoute* after = found == next_routes.end() ? nullptr : found->second;
    const auto refuse = [&](std::string what) {
      return std::unexpected(ConfigError{next.file, after ? after->line : 0,
                                         "route '" + printable(before.name) + "'",
                                         std::move(what)});
    };
    const std::string had = std::to_string(before.targets.size());
    if ((!after || after->targets.empty()) && !limits.allow_empty) {
      return refuse("would be left with none of its " + had +
                    " targets; --discovery-allow-empty accepts this");
    }
    std::unordered_set<std::string> kept;
    if (after) {
      for (const DiscoveredTarget& target : after->targets) kept.insert(target.target.canonical());
    }
    std::size_t removed = 0;
    for (const DiscoveredTarget& target : before.targets) {
      removed += kept.contains(target.target.canonical()) ? 0 : 1;
    }
    if (removed * 100 > before.targets.size() * limits.max_removal_percent) {
      return refuse("would lose " + std::to_string(removed) + " of its " + had +
                    " targets at once, more than the " +
                    std::to_string(limits.max_removal_percent) + " % of --discovery-max-removal");
    }
  }
  return {};
}

}  // namespace sallyport::gateway
