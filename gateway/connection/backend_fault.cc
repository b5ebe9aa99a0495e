#include "gateway/connection/backend_fault.h"

#include <chrono>
#include <functional>
#include <string>

namespace sallyport::gateway {

namespace {

// Later a reset may be a backend's answer to silence.
constexpr std::chrono::seconds kSoon{5};

// Nor does an address cause anything that a PROXY header would tell.
bool client_did_nothing(const LiveConnection& connection, bool client_ended) {
  return connection.received_bytes() == 0 && !client_ended && !connection.route().proxy &&
         connection.age() < kSoon;
}

}  // namespace

void count_backend_reset(const LiveConnection& connection, bool client_ended) {
  // What was idle for a while may have been ended for that.
  if (connection.sent_bytes() > 0 || connection.began_warm()) return;
  const Endpoint& endpoint = *connection.backend();
  const auto identity = std::hash<std::string>()(connection.peer().identity.display());
  const unsigned resets =
      endpoint.life->count_reset(client_did_nothing(connection, client_ended), identity);
  ShardState& shard = connection.shard();
  shard.balancer.eject_if_due(connection.route(), endpoint, resets, shard.ring.now());
}

}  // namespace sallyport::gateway
