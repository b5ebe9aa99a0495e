#include "gateway/connection/client_limits.h"

#include <sys/socket.h>

#include <cstring>
#include <span>
#include <string>

#include "gateway/connection/client.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::gateway {
namespace {

RefusalPtr reached(LiveConnection& connection, metrics::Limit limit) {
  connection.route_cells().limit_reached(limit);
  return refusal(CloseReason::kLimitReached, std::string(to_string(limit)) + " reached");
}

// Clients without a usable name share one. Whoever can choose his name cannot choose one that
// shares another's.
std::uint64_t key_of(const LiveConnection& connection) {
  const std::string text = connection.route().name + '\0' + connection.peer().identity.display();
  const ktls::Sha256 digest = ktls::sha256(std::as_bytes(std::span(text)));
  std::uint64_t key = 0;
  std::memcpy(&key, digest.data(), sizeof key);
  return key;
}

bool has_address(const LiveConnection& connection) {
  return connection.client().expand().family() != AF_UNSPEC;
}

}  // namespace

RefusalPtr limit_connections_of_address(Client& client) {
  LiveConnection& connection = client.connection;
  ShardState& shard = connection.shard();
  const std::uint32_t most = shard.client_limits.per_address().connections;
  if (most == 0 || !has_address(connection)) return nullptr;
  const std::uint64_t network = connection.client().network();
  client.place_of_address = shard.client_limits.addresses().enter(network, most, shard.ring.now());
  if (client.place_of_address) return nullptr;
  return reached(connection, metrics::Limit::kConnectionsPerAddress);
}

RefusalPtr limit_handshakes_of_address(Client& client) {
  LiveConnection& connection = client.connection;
  ShardState& shard = connection.shard();
  const std::uint32_t rate = shard.client_limits.per_address().handshakes;
  if (rate == 0 || !has_address(connection)) return nullptr;
  const std::uint64_t network = connection.client().network();
  if (shard.client_limits.addresses().take(network, rate, shard.ring.now())) return nullptr;
  return reached(connection, metrics::Limit::kHandshakesPerAddress);
}

RefusalPtr limit_identity(Client& client) {
  LiveConnection& connection = client.connection;
  const LimitRules& rules = connection.route().limits;
  if (rules.handshakes_per_identity == 0 && rules.connections_per_identity == 0) return nullptr;
  ShardState& shard = connection.shard();
  LimitTable& identities = shard.client_limits.identities();
  const std::uint64_t key = key_of(connection);
  const auto now = shard.ring.now();
  if (rules.handshakes_per_identity > 0 &&
      !identities.take(key, rules.handshakes_per_identity, now))
    return reached(connection, metrics::Limit::kHandshakesPerIdentity);
  if (rules.connections_per_identity == 0) return nullptr;
  client.place_of_identity = identities.enter(key, rules.connections_per_identity, now);
  if (client.place_of_identity) return nullptr;
  return reached(connection, metrics::Limit::kConnectionsPerIdentity);
}

}  // namespace sallyport::gateway
