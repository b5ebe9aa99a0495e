#include "gateway/connection/backend_fault.h"

#include <functional>
#include <string>

namespace sallyport::gateway {

void count_backend_reset(const LiveConnection& connection) {
  if (connection.sent_bytes() > 0) return;
  const Endpoint& endpoint = *connection.backend();
  const auto identity = std::hash<std::string>()(connection.peer().identity.display());
  const unsigned resets = endpoint.life->count_reset(connection.received_bytes() == 0, identity);
  ShardState& shard = connection.shard();
  shard.balancer.eject_if_due(connection.route(), endpoint, resets, shard.ring.now());
}

}  // namespace sallyport::gateway
