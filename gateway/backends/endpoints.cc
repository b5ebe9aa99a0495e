#include "gateway/backends/endpoints.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gateway/backends/known_by_name.h"
#include "gateway/backends/rendezvous.h"
#include "iouring/invariant.h"

namespace sallyport::gateway {
namespace {

std::string key_of(const iouring::SocketAddress& address) {
  return {reinterpret_cast<const char*>(address.data()), address.size()};
}

// Where an endpoint is. Targets have no NUL.
std::string place_of(const std::string& route, const std::string& target,
                     const iouring::SocketAddress& address) {
  return key_of(address) + target + '\0' + route;
}

// Of a name with several addresses each has a part; one alone keeps it whatever address it has.
std::uint64_t hash_of(const std::string& target, const iouring::SocketAddress& address,
                      bool one_of_several) {
  return rendezvous_hash(one_of_several ? target + " " + address.to_string() : target);
}

using EndpointPtr = std::shared_ptr<const Endpoint>;

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

RoutePlace RoutePlace::enter(std::shared_ptr<RouteLife> route, std::uint32_t most) {
  const auto before = route->connections.fetch_add(1, std::memory_order_relaxed);
  RoutePlace place(std::move(route));
  if (most > 0 && before >= most) return {};
  return place;
}

Standing Endpoint::standing(iouring::TimePoint now) const {
  const Checked checked = life->checked();
  if (checked == Checked::kDown) return Standing::kDown;
  if (life->ejected(now)) return Standing::kEjected;
  if (checked == Checked::kUnknown && route_life->any_up.load(std::memory_order_relaxed))
    return Standing::kUnchecked;
  if (ipv6 && ipv6->avoided(now)) return Standing::kUnreached;
  return health->failing() ? Standing::kFailing : Standing::kGood;
}

// A failing address that is due for a trial gets the next connection.
bool Endpoint::up(iouring::TimePoint now) const {
  if (!takes_new_connections()) return false;
  const Standing stands = standing(now);
  return stands == Standing::kGood || (stands == Standing::kFailing && !health->avoided(now));
}

std::size_t RouteEndpoints::usable() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(weights, [](const EndpointWeight& each) { return each.weight > 0; }));
}

const Endpoint* RouteEndpoints::find(std::uint64_t id) const {
  const auto found = std::ranges::lower_bound(endpoints, id, {}, &Endpoint::id);
  return found != endpoints.end() && (*found)->id == id ? found->get() : nullptr;
}

struct EndpointSet::Known {
  std::shared_ptr<Ipv6Reach> ipv6 = std::make_shared<Ipv6Reach>();
  KnownByName<RouteLife> routes;
  KnownByName<EndpointLife> places;
  KnownByName<AddressHealth> addresses;
};

EndpointSet::EndpointSet(const EndpointSet* previous)
    : known_(previous ? previous->known_ : std::make_shared<Known>()),
      next_id_(previous ? previous->next_id_ : 1) {}

EndpointSet::Pointer EndpointSet::build(const Discovery& discovery, const Resolutions& resolutions,
                                        const EndpointSet* previous, iouring::TimePoint now) {
  std::shared_ptr<EndpointSet> set(new EndpointSet(previous));
  set->routes_.reserve(discovery.routes.size());
  for (const DiscoveredRoute& route : discovery.routes) {
    const RouteEndpoints* const before = previous ? previous->find(route.name) : nullptr;
    set->routes_.push_back(set->endpoints_of(route, resolutions, before, now));
  }
  for (std::size_t i = 0; i < set->routes_.size(); ++i) set->by_name_[set->routes_[i].name] = i;
  return set;
}

RouteEndpoints EndpointSet::endpoints_of(const DiscoveredRoute& discovered,
                                         const Resolutions& resolutions,
                                         const RouteEndpoints* before, iouring::TimePoint now) {
  std::unordered_map<const EndpointLife*, EndpointPtr> stay;
  if (before != nullptr) {
    stay.reserve(before->endpoints.size());
    for (const auto& endpoint : before->endpoints) stay.emplace(endpoint->life.get(), endpoint);
  }
  // A new one beside others begins now; those of a new route have always been there.
  const auto new_life = [&](const std::string& place) {
    auto life = known_->places.make(place);
    if (!stay.empty()) life->begin(now);
    return life;
  };
  RouteEndpoints route{.name = discovered.name,
                       .life = known_->routes.find_or_make(discovered.name),
                       .endpoints = {},
                       .weights = {},
                       .unresolved = {}};
  route.endpoints.reserve(discovered.targets.size());
  for (const DiscoveredTarget& target : discovered.targets) {
    const auto addresses = addresses_of(target.target, resolutions);
    if (addresses.empty()) route.unresolved.push_back(target.text);
    const bool several = addresses.size() > 1;
    for (const iouring::SocketAddress& address : addresses) {
      const std::string place = place_of(discovered.name, target.text, address);
      std::shared_ptr<EndpointLife> life = known_->places.find(place);
      if (!life || life->forgotten()) life = new_life(place);
      // Shards have forgotten the id of one that comes back, and may count connections under it.
      const auto same = stay.find(life.get());
      const bool stays = same != stay.end();
      if (stays && *same->second->labels == *target.labels &&
          same->second->one_of_several == several) {
        route.endpoints.push_back(same->second);
        continue;
      }
      const std::uint64_t id = stays ? same->second->id : next_id_++;
      route.endpoints.push_back(std::make_shared<const Endpoint>(Endpoint{
          id, address, target.text, target.labels, known_->addresses.find_or_make(key_of(address)),
          std::move(life), route.life, Ipv6Reach::concerns(address) ? known_->ipv6 : nullptr,
          several, hash_of(target.text, address, several)}));
    }
  }
  std::ranges::sort(route.endpoints, {}, [](const auto& endpoint) { return endpoint->id; });
  route.weights.reserve(route.endpoints.size());
  for (const auto& endpoint : route.endpoints) {
    route.weights.push_back(
        {endpoint->id, endpoint->hash, endpoint->takes_new_connections() ? endpoint->weight() : 0});
  }
  return route;
}

void EndpointSet::mark_leaving(iouring::TimePoint now) const {
  for (const RouteEndpoints& route : routes_)
    for (const auto& endpoint : route.endpoints)
      endpoint->life->set_leaving(endpoint->state() == EndpointState::kDraining, now);
}

const RouteEndpoints* EndpointSet::find(std::string_view route) const {
  const auto found = by_name_.find(route);
  return found == by_name_.end() ? nullptr : &routes_[found->second];
}

}  // namespace sallyport::gateway
