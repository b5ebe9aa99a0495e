#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/backends/address_health.h"
#include "gateway/backends/discovery.h"
#include "gateway/backends/resolver.h"
#include "iouring/address.h"

namespace sallyport::gateway {

/// One address to which connections can be made. Immutable but for what is known of connects to it,
/// which stays with the place from one generation to the next; shared by generations as long as it
/// does not change, so a connection keeps its endpoint alive and not a whole generation.
struct Endpoint {
  std::uint64_t id = 0;  ///< same place in the same route = same id in the next generation
  iouring::SocketAddress address;
  std::string target;  ///< as the discovery file writes it; several addresses of a name share it
  std::shared_ptr<const GroupLabels> labels;
  std::shared_ptr<AddressHealth> health;  ///< of the address, in whatever route
  std::shared_ptr<std::atomic<std::uint64_t>> connect_failures;  ///< in this route

  std::uint32_t weight() const { return labels->weight; }
  EndpointState state() const { return labels->state; }
  bool takes_new_connections() const {
    return labels->state == EndpointState::kReady && labels->weight > 0;
  }
  /// Whether it would get a new connection now: backend_up. One that is avoided gets some where no
  /// other is better, and is not up.
  bool up(iouring::TimePoint now) const { return takes_new_connections() && !health->avoided(now); }
};

struct RouteEndpoints {
  /// What balancing needs of an endpoint, side by side for a quick pass over all of them.
  struct EndpointWeight {
    std::uint64_t id;
    std::uint32_t weight;  ///< 0 = takes no new connections, for whatever reason
  };

  std::string name;
  std::vector<std::shared_ptr<const Endpoint>> endpoints;  ///< sorted by id
  std::vector<EndpointWeight> weights;                     ///< of endpoints, same order
  std::vector<std::string> unresolved;  ///< targets whose name has no address yet

  std::size_t usable() const;  ///< that take new connections
};

/// All endpoints of one generation, immutable: built by the control thread, read by every shard.
class EndpointSet {
 public:
  using Pointer = std::shared_ptr<const EndpointSet>;

  /// `previous` (may be null) gives its ids, and its Endpoint objects where nothing changed. A name
  /// with several addresses becomes several endpoints with the weight of the target each.
  static Pointer build(const Discovery& discovery, const Resolutions& resolutions,
                       const EndpointSet* previous);

  EndpointSet(const EndpointSet&) = delete;
  EndpointSet& operator=(const EndpointSet&) = delete;

  std::span<const RouteEndpoints> routes() const { return routes_; }
  const RouteEndpoints* find(std::string_view route) const;  ///< nullptr: unknown

 private:
  EndpointSet() = default;

  std::vector<RouteEndpoints> routes_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::uint64_t next_id_ = 1;
};

}  // namespace sallyport::gateway
