#include "gateway/backends/endpoints.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "iouring/invariant.h"

namespace sallyport::gateway {
namespace {

std::string key_of(const iouring::SocketAddress& address) {
  return {reinterpret_cast<const char*>(address.data()), address.size()};
}

// The endpoints of a route in the previous generation, by place.
class PreviousEndpoints {
 public:
  explicit PreviousEndpoints(const RouteEndpoints* previous) {
    if (!previous) return;
    by_place_.reserve(previous->endpoints.size());
    for (const auto& endpoint : previous->endpoints) {
      by_place_.emplace(place(endpoint->target, endpoint->address), endpoint);
    }
  }

  std::shared_ptr<const Endpoint> find(const std::string& target,
                                       const iouring::SocketAddress& address) const {
    const auto found = by_place_.find(place(target, address));
    return found == by_place_.end() ? nullptr : found->second;
  }

 private:
  static std::string place(const std::string& target, const iouring::SocketAddress& address) {
    return key_of(address) + target;
  }

  std::unordered_map<std::string, std::shared_ptr<const Endpoint>> by_place_;
};

// What is known of each address, from the generation before on.
class KnownAddresses {
 public:
  explicit KnownAddresses(const EndpointSet* previous) {
    if (!previous) return;
    for (const RouteEndpoints& route : previous->routes()) {
      for (const auto& endpoint : route.endpoints) {
        health_.emplace(key_of(endpoint->address), endpoint->health);
      }
    }
  }

  const std::shared_ptr<AddressHealth>& health(const iouring::SocketAddress& address) {
    std::shared_ptr<AddressHealth>& known = health_[key_of(address)];
    if (!known) known = std::make_shared<AddressHealth>();
    return known;
  }

 private:
  std::unordered_map<std::string, std::shared_ptr<AddressHealth>> health_;
};

// The addresses of the target now; empty: a name that has none.
std::vector<iouring::SocketAddress> addresses_of(const Target& target,
                                                 const Resolutions& resolutions) {
  if (target.kind != Target::Kind::kName) {
    const auto address = iouring::SocketAddress::parse(target.canonical());
    iouring::invariant(address.has_value(), "a canonical target is a socket address");
    return {*address};
  }
  const auto found = resolutions.find(target.host);
  if (found == resolutions.end()) return {};
  std::vector<iouring::SocketAddress> addresses = found->second.addresses;
  for (auto& address : addresses) address = address.with_port(target.port);
  return addresses;
}

}  // namespace

std::size_t RouteEndpoints::usable() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(weights, [](const EndpointWeight& each) { return each.weight > 0; }));
}

EndpointSet::Pointer EndpointSet::build(const Discovery& discovery, const Resolutions& resolutions,
                                        const EndpointSet* previous) {
  std::shared_ptr<EndpointSet> set(new EndpointSet);
  set->next_id_ = previous ? previous->next_id_ : 1;
  set->routes_.reserve(discovery.routes.size());
  KnownAddresses addresses_known(previous);
  for (const DiscoveredRoute& discovered : discovery.routes) {
    RouteEndpoints& route = set->routes_.emplace_back();
    route.name = discovered.name;
    route.endpoints.reserve(discovered.targets.size());
    const PreviousEndpoints known(previous ? previous->find(discovered.name) : nullptr);
    for (const DiscoveredTarget& target : discovered.targets) {
      const auto addresses = addresses_of(target.target, resolutions);
      if (addresses.empty()) route.unresolved.push_back(target.text);
      for (const iouring::SocketAddress& address : addresses) {
        auto before = known.find(target.text, address);
        if (before && *before->labels == *target.labels) {
          route.endpoints.push_back(std::move(before));
          continue;
        }
        const std::uint64_t id = before ? before->id : set->next_id_++;
        auto failures =
            before ? before->connect_failures : std::make_shared<std::atomic<std::uint64_t>>(0);
        route.endpoints.push_back(std::make_shared<const Endpoint>(
            Endpoint{id, address, target.text, target.labels, addresses_known.health(address),
                     std::move(failures)}));
      }
    }
    std::ranges::sort(route.endpoints, {}, [](const auto& endpoint) { return endpoint->id; });
    route.weights.reserve(route.endpoints.size());
    for (const auto& endpoint : route.endpoints) {
      route.weights.push_back(
          {endpoint->id, endpoint->takes_new_connections() ? endpoint->weight() : 0});
    }
  }
  for (std::size_t i = 0; i < set->routes_.size(); ++i) set->by_name_[set->routes_[i].name] = i;
  return set;
}

const RouteEndpoints* EndpointSet::find(std::string_view route) const {
  const auto found = by_name_.find(route);
  return found == by_name_.end() ? nullptr : &routes_[found->second];
}

}  // namespace sallyport::gateway
