#include "gateway/backends/discovery_builder.h"

#include <algorithm>
#include <optional>

#include "gateway/policy/host_name.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {

void DiscoveryBuilder::Tally::report(std::vector<ConfigError>& warnings) {
  if (count_ == 0) return;
  if (count_ > 1) first_.what += " (and " + std::to_string(count_ - 1) + " more like this)";
  warnings.push_back(std::move(first_));
}

std::size_t DiscoveryBuilder::route(const std::string& name, unsigned line) {
  const auto [found, fresh] = indexes_.emplace(name, discovery_.routes.size());
  if (fresh) {
    discovery_.routes.push_back(
        {is_route_name(name) ? name : printable(name), line, {}, std::nullopt});
    building_.emplace_back();
  }
  return found->second;
}

void DiscoveryBuilder::refuse_route(std::size_t route, ConfigError why) {
  DiscoveredRoute& discovered = discovery_.routes[route];
  if (!discovered.refused) discovered.refused = std::move(why);
}

std::expected<void, ConfigError> DiscoveryBuilder::add(
    std::size_t route, const std::string& text, const std::shared_ptr<const GroupLabels>& labels,
    unsigned line, const std::string& list, std::size_t index) {
  auto target = Target::parse(text);
  if (!target) return refuse(line, item_key(list, index), std::move(target.error()));
  std::vector<DiscoveredTarget>& known = discovery_.routes[route].targets;
  const auto [first, fresh] = building_[route].seen.emplace(target->canonical(), known.size());
  if (fresh) {
    known.push_back({*std::move(target), text, labels});
  } else {
    merge(route, first->second, *labels, line, item_key(list, index));
  }
  return {};
}

// One target twice is one endpoint, with the more cautious of each label.
void DiscoveryBuilder::merge(std::size_t route, std::size_t index, const GroupLabels& labels,
                             unsigned line, std::string key) {
  DiscoveredRoute& discovered = discovery_.routes[route];
  DiscoveredTarget& target = discovered.targets[index];
  const std::string what =
      "'" + printable(target.text) + "' is in route '" + printable(discovered.name) + "' already";
  const bool same_name = target.labels->tls_name == labels.tls_name;
  if (!same_name || target.labels->tls_id != labels.tls_id) {
    const std::string other = same_name ? "tls_id" : "tls_name";
    building_[route].contradictory.insert(index);
    building_[route].left_out.add(
        error(line, std::move(key), what + ", with another " + other + ": it is left out"));
    return;
  }
  building_[route].repeated.add(error(line, std::move(key), what + ": it is one endpoint"));
  GroupLabels merged = *target.labels;
  merged.weight = std::min(merged.weight, labels.weight);
  merged.state = std::max(merged.state, labels.state);
  if (merged != *target.labels) target.labels = std::make_shared<GroupLabels>(std::move(merged));
}

Discovery DiscoveryBuilder::finish() {
  for (std::size_t i = 0; i < building_.size(); ++i) finish(i);
  return std::move(discovery_);
}

void DiscoveryBuilder::finish(std::size_t route) {
  DiscoveredRoute& discovered = discovery_.routes[route];
  if (discovered.refused) {
    discovered.targets.clear();
    return;
  }
  Building& building = building_[route];
  for (auto& [what, tally] : building.odd) tally.report(discovery_.warnings);
  building.repeated.report(discovery_.warnings);
  building.left_out.report(discovery_.warnings);
  if (building.contradictory.empty()) return;
  std::vector<DiscoveredTarget> kept;
  for (std::size_t i = 0; i < discovered.targets.size(); ++i) {
    if (!building.contradictory.contains(i)) kept.push_back(std::move(discovered.targets[i]));
  }
  discovered.targets = std::move(kept);
}

}  // namespace sallyport::gateway
