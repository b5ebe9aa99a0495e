#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gateway/backends/address_health.h"
#include "gateway/backends/discovery.h"
#include "gateway/backends/endpoint_life.h"
#include "gateway/backends/ipv6_reach.h"
#include "gateway/backends/name_table.h"
#include "iouring/address.h"

namespace sallyport::gateway {

/// What the endpoints of a route have in common beyond the discovery file, through all generations.
/// Any thread; no lock.
struct RouteLife {
  /// Of its endpoints one is up, by checks: those not yet checked wait for theirs. Written by the
  /// checker.
  std::atomic<bool> any_up{false};
  /// Connections that were let in, of all shards, from the dialling of a backend on: RoutePlace.
  std::atomic<std::uint64_t> connections{0};
  /// One ejection at a time is decided on, see eject_if_due().
  std::atomic_flag ejecting;
};

/// One connection of a route, counted for as long as this lives; or none.
class RoutePlace {
 public:
  RoutePlace() = default;
  /// None: the route has `most` (0: no limit) already. Any thread.
  static RoutePlace enter(std::shared_ptr<RouteLife> route, std::uint32_t most);
  RoutePlace(RoutePlace&& other) noexcept = default;
  RoutePlace& operator=(RoutePlace&& other) noexcept {
    std::swap(route_, other.route_);
    return *this;
  }
  ~RoutePlace() {
    if (route_) leave(*route_);
  }
  /// The holder of the connection calls leave() itself, at its end.
  void hand_over() { route_.reset(); }
  static void leave(RouteLife& route) { route.connections.fetch_sub(1, std::memory_order_relaxed); }
  explicit operator bool() const { return route_ != nullptr; }

 private:
  explicit RoutePlace(std::shared_ptr<RouteLife> route) : route_(std::move(route)) {}
  std::shared_ptr<RouteLife> route_;
};

/// Whether an endpoint gets new connections, the better ones first.
enum class Standing : std::uint8_t {
  kGood,
  kFailing,    ///< connects to its address fail: for want of a good one
  kUnreached,  ///< its address is IPv6, and there is no route to any
  kUnchecked,  ///< others are known to be up
  kEjected,
  kDown,  ///< by its checks
};

/// One address to which connections can be made. Immutable but for its health and life, which stay
/// with the place from one generation to the next; shared by generations as long as it does not
/// change, so a connection keeps its endpoint alive and not a whole generation.
struct Endpoint {
  /// Same place in the same route = same id in the next generation. One that comes back has
  /// another, and the life that it had.
  std::uint64_t id = 0;
  iouring::SocketAddress address;
  std::string target;  ///< as the discovery file writes it; several addresses of a name share it
  std::shared_ptr<const GroupLabels> labels;
  std::shared_ptr<AddressHealth> health;  ///< of the address, in whatever route
  std::shared_ptr<EndpointLife> life;     ///< in this route
  std::shared_ptr<RouteLife> route_life;
  std::shared_ptr<Ipv6Reach> ipv6 = nullptr;  ///< null: not one that this concerns
  bool one_of_several = false;                ///< addresses of its target
  /// rendezvous_hash() of the target; of one address of several, of "TARGET ADDRESS".
  std::uint64_t hash = 0;

  std::uint32_t weight() const { return labels->weight; }
  EndpointState state() const { return labels->state; }
  bool takes_new_connections() const {
    return labels->state == EndpointState::kReady && labels->weight > 0;
  }
  Standing standing(iouring::TimePoint now) const;
  /// Whether it would get a new connection now: backend_up. One of another standing gets some where
  /// no other is better, and is not up.
  bool up(iouring::TimePoint now) const;
};

struct RouteEndpoints {
  /// What balancing needs of an endpoint, side by side for a quick pass over all of them.
  struct EndpointWeight {
    std::uint64_t id;
    std::uint64_t hash;
    std::uint32_t weight;  ///< 0 = takes no new connections, for whatever reason
  };

  std::string name;
  std::shared_ptr<RouteLife> life;
  std::vector<std::shared_ptr<const Endpoint>> endpoints;  ///< sorted by id
  std::vector<EndpointWeight> weights;                     ///< of endpoints, same order
  std::vector<std::string> unresolved;  ///< targets whose name has no address yet

  std::size_t usable() const;                    ///< that take new connections
  const Endpoint* find(std::uint64_t id) const;  ///< nullptr: it is gone
};

/// All endpoints of one generation, immutable: built by the control thread, read by every shard.
class EndpointSet {
 public:
  using Pointer = std::shared_ptr<const EndpointSet>;

  /// `previous` (may be null) gives its ids, and its Endpoint objects where nothing changed. What
  /// is known of an endpoint, an address or a route is known to all generations, for as long as
  /// anything holds it: GoneEndpoints does for some minutes. A name with several addresses becomes
  /// several endpoints with the weight of the target each.
  static Pointer build(const Discovery& discovery, const Resolutions& resolutions,
                       const EndpointSet* previous, iouring::TimePoint now = {});

  /// It is in force: what drains leaves from now on, what came back does not.
  void mark_leaving(iouring::TimePoint now) const;

  EndpointSet(const EndpointSet&) = delete;
  EndpointSet& operator=(const EndpointSet&) = delete;

  std::span<const RouteEndpoints> routes() const { return routes_; }
  const RouteEndpoints* find(std::string_view route) const;  ///< nullptr: unknown

 private:
  struct Known;
  explicit EndpointSet(const EndpointSet* previous);
  RouteEndpoints endpoints_of(const DiscoveredRoute& discovered, const Resolutions& resolutions,
                              const RouteEndpoints* before, iouring::TimePoint now);

  std::shared_ptr<Known> known_;  // of all generations; the control thread's
  std::vector<RouteEndpoints> routes_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::uint64_t next_id_ = 1;
};

}  // namespace sallyport::gateway
