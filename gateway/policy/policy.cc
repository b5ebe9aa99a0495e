#include "gateway/policy/policy.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <span>
#include <utility>

#include "gateway/policy/host_name.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {
namespace {

// Adds the route, or returns why a hello could not tell it from one that is there.
std::optional<std::string> add_candidate(Policy::Candidates& candidates, const Route& route) {
  const auto take = [&route](const Route*& place) -> std::optional<std::string> {
    if (place) return "route '" + printable(place->name) + "' takes it already";
    place = &route;
    return std::nullopt;
  };
  if (route.takes_no_offer) {
    if (auto taken = take(candidates.without_offer)) return taken;
  } else if (route.alpn.empty()) {
    return take(candidates.without_alpn);
  }
  for (const Route* other : candidates.with_alpn) {
    for (const std::string& protocol : route.alpn) {
      if (std::ranges::find(other->alpn, protocol) == other->alpn.end()) continue;
      return "route '" + printable(other->name) + "' takes it already with ALPN '" +
             printable(protocol) + "'";
    }
  }
  if (!route.alpn.empty()) candidates.with_alpn.push_back(&route);
  return std::nullopt;
}

}  // namespace

std::string_view to_string(Balance balance) {
  switch (balance) {
    case Balance::kRoundRobin:
      return "round-robin";
    case Balance::kLeastConnections:
      return "least-connections";
    case Balance::kPowerOfTwo:
      return "power-of-two";
    case Balance::kHashIdentity:
      return "hash-identity";
  }
  std::abort();
}

std::string_view to_string(Truncation truncation) {
  switch (truncation) {
    case Truncation::kReset:
      return "reset";
    case Truncation::kClose:
      return "close";
  }
  std::abort();
}

std::expected<Policy::Pointer, ConfigError> Policy::from_flags(
    const FlagRules& rules, std::span<const std::string> route_labels,
    std::string_view discovery_file) {
  const auto refuse = [&](std::string_view label, std::string what) {
    return std::unexpected(ConfigError{std::string(discovery_file), 0,
                                       "route '" + printable(label) + "'", std::move(what)});
  };
  std::vector<Route> routes;
  for (const std::string& label : route_labels) {
    Route& route = routes.emplace_back();
    route.name = label;
    route.allow = rules.allow;
    route.allow_any_verified = rules.allow_any_verified;
    route.alpn = rules.alpn.value_or(std::vector<std::string>{});
    route.takes_no_offer = rules.alpn.has_value();
    route.truncation = rules.truncation;
    if (route_labels.size() == 1) continue;
    if (!is_host_name(label, Underscore::kAllowed) || is_ip_literal(label)) {
      return refuse(label,
                    "with several routes and no policy file, each takes the SNI of its own name, "
                    "and this is no host name");
    }
    route.sni.push_back(ascii_lower(label));
  }
  auto policy = build(std::move(routes));
  if (!policy) return refuse(route_labels[policy.error().route], std::move(policy.error().what));
  return std::move(*policy);
}

std::expected<Policy::Pointer, RouteConflict> Policy::build(std::vector<Route> routes,
                                                            std::vector<RouteFiles> files) {
  std::shared_ptr<Policy> policy(new Policy);
  policy->routes_ = std::move(routes);
  policy->files_ = std::move(files);
  if (auto indexed = policy->index(); !indexed) return std::unexpected(std::move(indexed.error()));
  return policy;
}

std::expected<void, RouteConflict> Policy::index() {
  std::set<std::string, std::less<>> trust_domains;
  const Route* without_sni = nullptr;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    Route& route = routes_[i];
    if (route.endpoint_rules.removal_timeout.count() > 0 || route.backend_tls)
      judges_endpoints_ = true;
    route.name_hash = ktls::sha256(std::as_bytes(std::span(route.name)));
    if (!by_route_name_.emplace(route.name, &route).second) {
      return std::unexpected(RouteConflict{i, std::nullopt, "a second route of this name"});
    }
    for (const IdentityPattern& pattern : route.allow) {
      if (!pattern.trust_domain().empty()) route.trust_domains.emplace_back(pattern.trust_domain());
    }
    std::ranges::sort(route.trust_domains);
    const auto again = std::ranges::unique(route.trust_domains);
    route.trust_domains.erase(again.begin(), again.end());
    trust_domains.insert(route.trust_domains.begin(), route.trust_domains.end());
    if (route.egress) continue;
    if (route.sni.empty()) {
      if (without_sni) {
        return std::unexpected(RouteConflict{
            i, std::nullopt,
            "a second route without \"sni\": '" + printable(without_sni->name) + "' is one"});
      }
      without_sni = &route;
      add_candidate(without_sni_, route);
      continue;
    }
    for (std::size_t j = 0; j < route.sni.size(); ++j) {
      const std::string& name = route.sni[j];
      const bool wildcard = name.starts_with("*.");
      Candidates& candidates = wildcard ? wildcard_[name.substr(2)] : exact_[name];
      if (auto taken = add_candidate(candidates, route)) {
        return std::unexpected(RouteConflict{i, j, std::move(*taken)});
      }
    }
  }
  trust_domains_.assign(trust_domains.begin(), trust_domains.end());
  return {};
}

bool Policy::names(const RouteFiles& files) const {
  return std::ranges::find(files_, files) != files_.end();
}

const Route* Policy::find(std::string_view route_name) const {
  const auto found = by_route_name_.find(route_name);
  return found == by_route_name_.end() ? nullptr : found->second;
}

const Policy::Candidates* Policy::exact(std::string_view name) const {
  const auto found = exact_.find(name);
  return found == exact_.end() ? nullptr : &found->second;
}

const Policy::Candidates* Policy::wildcard(std::string_view parent) const {
  const auto found = wildcard_.find(parent);
  return found == wildcard_.end() ? nullptr : &found->second;
}

}  // namespace sallyport::gateway
