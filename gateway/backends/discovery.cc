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

// The first of several like findings, and how many there are: one warning is made of them.
class Tally {
 public:
  void add(ConfigError finding) {
    if (count_++ == 0) first_ = std::move(finding);
  }
  void report(std::vector<ConfigError>& warnings) {
    if (count_ == 0) return;
    if (count_ > 1) first_.what += " (and " + std::to_string(count_ - 1) + " more like this)";
    warnings.push_back(std::move(first_));
  }

 private:
  ConfigError first_;
  std::size_t count_ = 0;
};

class DiscoveryReader {
 public:
  explicit DiscoveryReader(std::string_view file) { discovery_.file = file; }

  std::expected<Discovery, ConfigError> read(const JsonValue& root);

 private:
  // A route while its groups are read; its index is that of the DiscoveredRoute.
  struct Reading {
    std::unordered_map<std::string, std::size_t> seen;  // index by canonical target
    std::unordered_set<std::size_t> contradictory;
    Tally repeated, refused;
  };

  ConfigError error(unsigned line, std::string key, std::string what) const {
    return {discovery_.file, line, std::move(key), std::move(what)};
  }
  std::unexpected<ConfigError> refuse(unsigned line, std::string key, std::string what) const {
    return std::unexpected(error(line, std::move(key), std::move(what)));
  }

  Outcome read_group(const JsonValue& group, const std::string& key);
  Outcome read_group_of(std::size_t route, const JsonValue& group, const std::string& key);
  Outcome check_form(const JsonValue& group, const std::string& key) const;
  Outcome check_targets(const JsonValue* targets, const std::string& key) const;
  Outcome check_labels(const JsonValue* labels, const std::string& key) const;
  Outcome read_label(GroupLabels& labels, const JsonMember& label, const std::string& key) const;
  Outcome read_targets(std::size_t route, const JsonValue& targets, const std::string& key,
                       const std::shared_ptr<const GroupLabels>& labels);
  void merge(std::size_t route, std::size_t index, const GroupLabels& labels, unsigned line,
             std::string key);
  std::size_t route_of(const std::string& name, unsigned line);
  void finish(std::size_t route);

  Discovery discovery_;
  std::unordered_map<std::string, std::size_t> route_indexes_;
  std::vector<Reading> reading_;
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
  for (std::size_t i = 0; i < reading_.size(); ++i) finish(i);
  return std::move(discovery_);
}

// The error refuses the file; one of the group's route is kept with the route.
Outcome DiscoveryReader::read_group(const JsonValue& group, const std::string& key) {
  if (!group.object()) {
    return refuse(
        group.line, key,
        "must be an object with \"targets\" and \"labels\", not " + std::string(group.kind()));
  }
  const JsonValue* labels = group.find("labels");
  const JsonValue* route = labels ? labels->find("route") : nullptr;
  if (!route || !route->string() || route->string()->empty()) {
    auto checked = check_form(group, key);
    if (checked) ++discovery_.ignored_groups;
    return checked;
  }
  const std::size_t index = route_of(*route->string(), route->line);
  auto read = read_group_of(index, group, key);
  DiscoveredRoute& discovered = discovery_.routes[index];
  if (!read && !discovered.refused) discovered.refused = std::move(read.error());
  return {};
}

Outcome DiscoveryReader::check_form(const JsonValue& group, const std::string& key) const {
  for (const JsonMember& member : *group.object()) {
    if (member.key == "targets" || member.key == "labels") continue;
    return refuse(member.line, key + "." + printable(member.key), "unknown key");
  }
  if (auto checked = check_targets(group.find("targets"), key + ".targets"); !checked) {
    return checked;
  }
  return check_labels(group.find("labels"), key + ".labels");
}

Outcome DiscoveryReader::read_group_of(std::size_t route, const JsonValue& group,
                                       const std::string& key) {
  if (auto checked = check_form(group, key); !checked) return checked;
  const JsonValue& labels = *group.find("labels");
  const JsonValue& name = *labels.find("route");
  if (!is_route_name(*name.string())) {
    return refuse(name.line, key + ".labels.route",
                  "a route's name has 1 to 255 bytes and no control characters");
  }
  auto group_labels = std::make_shared<GroupLabels>();
  for (const JsonMember& label : *labels.object()) {
    auto read = read_label(*group_labels, label, key + ".labels." + printable(label.key));
    if (!read) return read;
  }
  const JsonValue* targets = group.find("targets");
  if (!targets || targets->is_null()) return {};
  return read_targets(route, *targets, key + ".targets", group_labels);
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

// A name that is none is made printable: it stands in logs and metrics.
std::size_t DiscoveryReader::route_of(const std::string& name, unsigned line) {
  const auto [found, fresh] = route_indexes_.emplace(name, discovery_.routes.size());
  if (fresh) {
    discovery_.routes.push_back(
        {is_route_name(name) ? name : printable(name), line, {}, std::nullopt});
    reading_.emplace_back();
  }
  return found->second;
}

Outcome DiscoveryReader::read_targets(std::size_t route, const JsonValue& targets,
                                      const std::string& key,
                                      const std::shared_ptr<const GroupLabels>& labels) {
  std::vector<DiscoveredTarget>& known = discovery_.routes[route].targets;
  const JsonValue::Array& items = *targets.array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const JsonValue& item = items[i];
    const auto place = [&] { return key + "[" + std::to_string(i) + "]"; };
    auto target = Target::parse(*item.string());
    if (!target) return refuse(item.line, place(), std::move(target.error()));
    const auto [first, fresh] = reading_[route].seen.emplace(target->canonical(), known.size());
    if (fresh) {
      known.push_back({std::move(*target), *item.string(), labels});
    } else {
      merge(route, first->second, *labels, item.line, place());
    }
  }
  return {};
}

// One target twice is one endpoint, with the more cautious of each label.
void DiscoveryReader::merge(std::size_t route, std::size_t index, const GroupLabels& labels,
                            unsigned line, std::string key) {
  DiscoveredRoute& discovered = discovery_.routes[route];
  DiscoveredTarget& target = discovered.targets[index];
  const std::string what =
      "'" + printable(target.text) + "' is in route '" + printable(discovered.name) + "' already";
  if (target.labels->tls_name != labels.tls_name) {
    reading_[route].contradictory.insert(index);
    reading_[route].refused.add(
        error(line, std::move(key), what + ", with another tls_name: it is left out"));
    return;
  }
  reading_[route].repeated.add(error(line, std::move(key), what + ": it is one endpoint"));
  GroupLabels merged = *target.labels;
  merged.weight = std::min(merged.weight, labels.weight);
  merged.state = std::max(merged.state, labels.state);
  if (merged != *target.labels) target.labels = std::make_shared<GroupLabels>(std::move(merged));
}

void DiscoveryReader::finish(std::size_t route) {
  DiscoveredRoute& discovered = discovery_.routes[route];
  if (discovered.refused) {
    discovered.targets.clear();
    return;
  }
  Reading& reading = reading_[route];
  reading.repeated.report(discovery_.warnings);
  reading.refused.report(discovery_.warnings);
  if (reading.contradictory.empty()) return;
  std::vector<DiscoveredTarget> kept;
  for (std::size_t i = 0; i < discovered.targets.size(); ++i) {
    if (!reading.contradictory.contains(i)) kept.push_back(std::move(discovered.targets[i]));
  }
  discovered.targets = std::move(kept);
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
  const auto root = parse_json(text, file);
  if (!root) return std::unexpected(root.error());
  return DiscoveryReader(file).read(*root);
}

}  // namespace sallyport::gateway
