#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/backends/endpoints.h"
#include "gateway/backends/warm_stock.h"
#include "gateway/policy/policy.h"
#include "gateway/policy/string_hash.h"

namespace sallyport::gateway {

class Balancer;
class RouteBalance;  // route_balance.h

/// One connection counted at its endpoint, for as long as this lives. Move-only; must not outlive
/// its Balancer; same thread.
class InUse {
 public:
  InUse() = default;
  InUse(InUse&& other) noexcept;
  InUse& operator=(InUse&& other) noexcept;
  ~InUse() { release(); }

  void release() noexcept;
  explicit operator bool() const { return route_ != nullptr; }
  /// Null: none.
  const std::shared_ptr<const Endpoint>& endpoint() const { return endpoint_; }

 private:
  friend class RouteBalance;
  InUse(RouteBalance* route, std::shared_ptr<const Endpoint> endpoint)
      : route_(route), endpoint_(std::move(endpoint)) {}

  RouteBalance* route_ = nullptr;
  std::shared_ptr<const Endpoint> endpoint_;
};

struct Pick {
  std::shared_ptr<const Endpoint> endpoint;  ///< never null
  InUse in_use;
  std::optional<WarmClaim> warm = std::nullopt;  ///< one that was ready there
};

/// Ids of endpoints that this connection has tried already.
using Tried = std::vector<std::uint64_t>;

/// What a route says of the choice among its endpoints.
struct PickRules {
  PickRules(Balance its_method) : method(its_method) {}  // NOLINT(google-explicit-constructor)
  explicit PickRules(const Route& route, std::optional<std::uint64_t> its_identity = std::nullopt)
      : method(route.balance),
        identity(its_identity),
        when_none_healthy(route.endpoint_rules.when_none_healthy),
        prefer_zone(route.endpoint_rules.prefer_zone),
        slow_start(route.endpoint_rules.slow_start),
        most_per_endpoint(route.limits.max_connections_per_endpoint) {}

  Balance method;
  /// For hash-identity: rendezvous_hash() of the client's identity; none: it has none.
  std::optional<std::uint64_t> identity;
  WhenNoneHealthy when_none_healthy = WhenNoneHealthy::kUseAll;
  bool prefer_zone = false;
  std::chrono::milliseconds slow_start{0};
  std::uint32_t most_per_endpoint = 0;  ///< of all shards; 0: no limit
};

/// Chooses endpoints for one shard, by this shard's own counts. Counts and the order of picks
/// survive a new generation of endpoints. Endpoints that are draining, down or of weight 0 get
/// nothing new.
///
///   round-robin        by weight, smooth: over (sum of weights) picks each gets exactly its weight
///   least-connections  smallest (in use + 1) / weight, the longest unpicked among equals
///   power-of-two       the better, in that sense, of two different ones drawn evenly
///   hash-identity      the highest rendezvous_score() for the identity; round-robin without one
///
/// Endpoints that are not good (Standing) are passed over, and have no turns to catch up with
/// later; where none that is left is good, one of the best standing is taken, that which was not
/// picked for longest, or which the identity has. Those that are ejected or down are none where the
/// route refuses then (when-none-healthy). One whose address failed gets a single connection now
/// and then, for a trial (AddressHealth), of an identity that has it. What is good again begins
/// with a part of its weight where the route starts slowly. A connection that goes on from a failed
/// endpoint takes no one's turn, nor does one with an identity.
///
/// Where the route prefers our zone, its endpoints are picked as if there were no others, while
/// those that are good have at least 70 % of the weight of all that the zone has, draining ones and
/// those that are down included. Below that a connection stays in the zone with the chance of that
/// part over 70 %, that of an identity always or never; else, and where the zone has no good one,
/// it gets one of the others. What is not good is no better for being in our zone, but among its
/// like.
///
/// A pick costs O(log endpoints), by an identity O(endpoints), and every 10 ms a look at those that
/// are not good or start slowly, at all where a zone is preferred; O(endpoints) where none is good.
class Balancer {
 public:
  explicit Balancer(std::uint64_t seed);
  ~Balancer();
  Balancer(const Balancer&) = delete;
  Balancer& operator=(const Balancer&) = delete;

  /// Before the first pick: the zone that routes may prefer, ours. Empty: none.
  void prefer(std::string zone);

  /// Takes over a new generation: one pass over the endpoints of the routes in use, and the counts
  /// of those that stay are kept.
  void update(EndpointSet::Pointer endpoints);

  /// An endpoint of the route that is not in `tried`; nullopt: there is none. `now` says which
  /// addresses are to be tried again.
  std::optional<Pick> pick(std::string_view route, const PickRules& rules, const Tried& tried = {},
                           iouring::TimePoint now = {});

  /// From now on picks of its endpoint, which is one of the current generation, claim what `stock`
  /// has ready.
  void set_warm(std::string_view route, const std::shared_ptr<WarmStock>& stock);

  /// `endpoint` failed so many times in a row: it is ejected if `route` says so.
  void eject_if_due(const Route& route, const Endpoint& endpoint, unsigned failures,
                    iouring::TimePoint now);

  /// Whether an endpoint of the route takes no more only since it has all the connections it may.
  bool any_full(std::string_view route, const PickRules& rules) const;
  /// How many endpoints of the route take new connections, whatever their standing.
  std::size_t usable(std::string_view route);
  /// Connections of this shard at an endpoint of the current generation.
  std::size_t in_use(std::string_view route, std::uint64_t endpoint_id) const;

 private:
  RouteBalance* current(std::string_view route);

  EndpointSet::Pointer endpoints_;
  std::mt19937_64 random_;
  std::string zone_;
  std::unordered_map<std::string, std::unique_ptr<RouteBalance>, StringHash, std::equal_to<>>
      routes_;
};

}  // namespace sallyport::gateway
