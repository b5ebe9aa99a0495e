#include "gateway/backends/endpoints.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <utility>

#include "gateway/backends/rendezvous.h"
#include "iouring/invariant.h"

namespace sallyport::gateway {
namespace {

// How long an endpoint without connections is remembered once it is gone, and how many are.
constexpr std::chrono::minutes kGoneRemembered{5};
constexpr std::size_t kMostGone = 10'000;

std::string key_of(const iouring::SocketAddress& address) {
  return {reinterpret_cast<const char*>(address.data()), address.size()};
}

// Where an endpoint is, within a route.
std::string place_of(const std::string& target, const iouring::SocketAddress& address) {
  return key_of(address) + target;
}

// Of a name with several addresses each has a part; one alone keeps it whatever address it has.
std::uint64_t hash_of(const std::string& target, const iouring::SocketAddress& address,
                      bool one_of_several) {
  return rendezvous_hash(one_of_several ? target + " " + address.to_string() : target);
}

using EndpointPtr = std::shared_ptr<const Endpoint>;

// What the generation before knows: endpoints by route and place, addresses.
class Known {
 public:
  explicit Known(const EndpointSet* previous) {
    if (!previous) return;
    for (const RouteEndpoints& route : previous->routes()) {
      Route& known = routes_[route.name];
      known.life = route.life;
      known.had_endpoints = !route.endpoints.empty();
      known.by_place.reserve(route.endpoints.size());
      for (const auto& endpoint : route.endpoints) add(known, endpoint, false);
    }
    for (const GoneEndpoint& gone : previous->gone()) {
      Route& known = routes_[gone.route];
      if (!known.life) known.life = gone.endpoint->route_life;
      add(known, gone.endpoint, true);
    }
  }

  struct Place {
    EndpointPtr endpoint;
    bool gone = false;  // shards have forgotten its id, and may count connections under it still
  };
  struct Route {
    std::shared_ptr<RouteLife> life;
    bool had_endpoints = false;
    std::unordered_map<std::string, Place> by_place;

    /// Null: there was none.
    [[nodiscard]] const Place* find(const std::string& place) const {
      const auto found = by_place.find(place);
      return found == by_place.end() ? nullptr : &found->second;
    }
  };

  const Route& route(const std::string& name) {
    Route& route = routes_[name];
    if (!route.life) route.life = std::make_shared<RouteLife>();
    return route;
  }

  const std::shared_ptr<AddressHealth>& health(const iouring::SocketAddress& address) {
    std::shared_ptr<AddressHealth>& known = health_[key_of(address)];
    if (!known) known = std::make_shared<AddressHealth>();
    return known;
  }

 private:
  void add(Route& route, const EndpointPtr& endpoint, bool gone) {
    route.by_place.emplace(place_of(endpoint->target, endpoint->address), Place{endpoint, gone});
    health_.emplace(key_of(endpoint->address), endpoint->health);
  }

  std::unordered_map<std::string, Route> routes_;
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

// A new one beside others begins now; those of a new route have always been there.
std::shared_ptr<EndpointLife> new_life(const Known::Route& route, iouring::TimePoint now) {
  auto life = std::make_shared<EndpointLife>();
  if (route.had_endpoints) life->begin(now);
  return life;
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

EndpointSet::Pointer EndpointSet::build(const Discovery& discovery, const Resolutions& resolutions,
                                        const EndpointSet* previous, iouring::TimePoint now) {
  std::shared_ptr<EndpointSet> set(new EndpointSet);
  set->next_id_ = previous ? previous->next_id_ : 1;
  set->routes_.reserve(discovery.routes.size());
  Known known(previous);
  for (const DiscoveredRoute& discovered : discovery.routes) {
    RouteEndpoints& route = set->routes_.emplace_back();
    const Known::Route& known_route = known.route(discovered.name);
    route.name = discovered.name;
    route.life = known_route.life;
    route.endpoints.reserve(discovered.targets.size());
    for (const DiscoveredTarget& target : discovered.targets) {
      const auto addresses = addresses_of(target.target, resolutions);
      if (addresses.empty()) route.unresolved.push_back(target.text);
      const bool several = addresses.size() > 1;
      for (const iouring::SocketAddress& address : addresses) {
        const Known::Place* const before = known_route.find(place_of(target.text, address));
        const auto life = before ? before->endpoint->life : new_life(known_route, now);
        const bool stays = before && !before->gone;
        if (stays && *before->endpoint->labels == *target.labels &&
            before->endpoint->one_of_several == several) {
          route.endpoints.push_back(before->endpoint);
          continue;
        }
        const std::uint64_t id = stays ? before->endpoint->id : set->next_id_++;
        route.endpoints.push_back(std::make_shared<const Endpoint>(
            Endpoint{id, address, target.text, target.labels, known.health(address), life,
                     known_route.life, several, hash_of(target.text, address, several)}));
      }
    }
    std::ranges::sort(route.endpoints, {}, [](const auto& endpoint) { return endpoint->id; });
    route.weights.reserve(route.endpoints.size());
    for (const auto& endpoint : route.endpoints) {
      route.weights.push_back({endpoint->id, endpoint->hash,
                               endpoint->takes_new_connections() ? endpoint->weight() : 0});
    }
  }
  for (std::size_t i = 0; i < set->routes_.size(); ++i) set->by_name_[set->routes_[i].name] = i;
  if (previous) set->keep_gone(*previous, now);
  return set;
}

void EndpointSet::keep_gone(const EndpointSet& previous, iouring::TimePoint now) {
  std::unordered_set<const EndpointLife*> here;
  for (const RouteEndpoints& route : routes_)
    for (const auto& endpoint : route.endpoints) here.insert(endpoint->life.get());
  std::size_t without_connections = 0;
  const auto keep = [&](const std::string& route, const EndpointPtr& endpoint) {
    const EndpointLife& life = *endpoint->life;
    if (here.contains(&life)) return;
    if (life.connections() == 0) {
      if (now - life.leaving_since() > kGoneRemembered) return;
      if (++without_connections > kMostGone) return;
    }
    gone_.push_back({route, endpoint});
  };
  // Those that left last come first: they are the last to be forgotten.
  for (const RouteEndpoints& route : previous.routes())
    for (const auto& endpoint : route.endpoints) keep(route.name, endpoint);
  for (const GoneEndpoint& gone : previous.gone()) keep(gone.route, gone.endpoint);
}

void EndpointSet::mark_leaving(iouring::TimePoint now) const {
  for (const RouteEndpoints& route : routes_)
    for (const auto& endpoint : route.endpoints)
      endpoint->life->set_leaving(endpoint->state() == EndpointState::kDraining, now);
  for (const GoneEndpoint& gone : gone_) gone.endpoint->life->set_leaving(true, now);
}

const RouteEndpoints* EndpointSet::find(std::string_view route) const {
  const auto found = by_name_.find(route);
  return found == by_name_.end() ? nullptr : &routes_[found->second];
}

}  // namespace sallyport::gateway
