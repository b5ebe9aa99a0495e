#include "gateway/backends/discovery_update.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "gateway/backends/endpoint_identity.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {
namespace {

using RoutesByName = std::unordered_map<std::string_view, const DiscoveredRoute*>;

// The routes that have targets.
RoutesByName routes_with_targets(const Discovery* discovery) {
  RoutesByName routes;
  if (!discovery) return routes;
  for (const DiscoveredRoute& route : discovery->routes) {
    if (!route.targets.empty()) routes.emplace(route.name, &route);
  }
  return routes;
}

// Why a route that had targets may not be left with so many. What counts is how many there are
// afterwards: all of them may be others.
std::optional<std::string> refuse_loss(std::string_view route, std::size_t before,
                                       std::size_t after, const UpdateLimits& limits) {
  const std::string had = std::to_string(before);
  if (after == 0) {
    const Route* rule = limits.policy ? limits.policy->find(route) : nullptr;
    if (limits.allow_empty || (rule && rule->allow_empty)) return std::nullopt;
    return "would be left with none of its " + had +
           " targets; \"allow-empty\" in the policy file or --discovery-allow-empty accepts this";
  }
  if (after >= before || (before - after) * 100 <= before * limits.max_removal_percent) {
    return std::nullopt;
  }
  return "would have " + std::to_string(after) + " targets instead of " + had +
         ", which is less by more than the " + std::to_string(limits.max_removal_percent) +
         " % of --discovery-max-removal";
}

}  // namespace

Discovery update_discovery(const Discovery* previous, Discovery next, const UpdateLimits& limits) {
  const auto known = [&](std::string_view route) {
    return !limits.policy || limits.policy->find(route) != nullptr;
  };
  const auto refusal = [&](const DiscoveredRoute& before, std::size_t after,
                           unsigned line) -> std::optional<ConfigError> {
    auto why = refuse_loss(before.name, before.targets.size(), after, limits);
    if (!why) return std::nullopt;
    return ConfigError{next.file, line, "route '" + printable(before.name) + "'", *std::move(why)};
  };

  if (limits.policy) judge_identities(next, *limits.policy);
  RoutesByName before = routes_with_targets(previous);
  for (DiscoveredRoute& route : next.routes) {
    const auto found = before.find(route.name);
    const DiscoveredRoute* had = found == before.end() ? nullptr : found->second;
    if (had) before.erase(found);
    if (!known(route.name)) {
      if (route.refused) next.warnings.push_back(*std::exchange(route.refused, std::nullopt));
      continue;
    }
    if (!route.refused && had) {
      route.refused = refusal(*had, route.targets.size(), route.line);
      if (!route.refused) continue;
    }
    if (route.refused && had) route.targets = had->targets;
  }
  if (!previous) return next;
  for (const DiscoveredRoute& route : previous->routes) {
    if (!before.contains(route.name) || !known(route.name)) continue;
    if (auto why = refusal(route, 0, 0)) {
      next.routes.push_back({route.name, route.line, route.targets, std::move(why)});
    }
  }
  return next;
}

}  // namespace sallyport::gateway
