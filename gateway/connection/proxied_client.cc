#include "gateway/connection/proxied_client.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>

#include "gateway/connection/client.h"
#include "gateway/connection/proxy_header_count.h"
#include "gateway/connection/proxy_header_reader.h"

namespace sallyport::gateway {
namespace {

void count(const Client& client, ProxyHeaderCount what) {
  client.connection.shard().metrics.proxy_header(what);
}

RefusalPtr invalid_header(const Client& client, std::string_view why) {
  count(client, ProxyHeaderCount::kReceivedInvalid);
  return refusal(CloseReason::kProxyHeaderInvalid, std::string(why));
}

// The proxy sent no more, for this error, or an end of file.
RefusalPtr stopped(Client& client, const ProxyHeaderReader& reader, int error) {
  LiveConnection& connection = client.connection;
  if (error == ECANCELED) {
    if (!connection.ended_by()) count(client, ProxyHeaderCount::kReceivedLate);
    connection.start_handshake();  // silence is refused like half a ClientHello
    return refusal(CloseReason::kHandshakeTimeout, "no whole PROXY header received");
  }
  if (reader.size() == 0) return refusal(CloseReason::kClosedBeforeHello);
  return invalid_header(client, "ended within its PROXY header");
}

iouring::Task<RefusalPtr> read_header(Client& client) {
  Handshake& handshake = *client.handshake;
  ProxyHeaderReader reader;
  while (reader.state() == ProxyHeaderReader::State::kPartial) {
    iouring::Result<iouring::Lease> received =
        co_await handshake.socket.recv(client.connection.shard().pools.small);
    if (!received) co_return stopped(client, reader, received.error().value);
    std::span<const std::byte> bytes = received->bytes();
    if (bytes.empty()) co_return stopped(client, reader, kEndOfFile);
    if (reader.add(bytes) == ProxyHeaderReader::State::kInvalid)
      co_return invalid_header(client, reader.error());
    handshake.unread.assign(bytes.begin(), bytes.end());
  }
  count(client, ProxyHeaderCount::kReceived);
  if (reader.addresses()) client.connection.set_proxied(*reader.addresses());
  co_return nullptr;
}

}  // namespace

bool comes_by_proxy(const LiveConnection& connection) {
  const auto& trusted = connection.shard().accept_proxy;
  return !trusted.empty() &&
         std::ranges::any_of(trusted, [peer = connection.client().expand()](const auto& network) {
           return network.contains(peer);
         });
}

[[gnu::noinline]] iouring::Task<RefusalPtr> receive_proxy_header(Client& client) {
  RefusalPtr refused = co_await iouring::in_scope(client.handshake->scope, read_header(client));
  co_return refused;
}

void refuse_stray_proxy_header(Client& client, Refusal& refused) {
  count(client, ProxyHeaderCount::kReceivedUntrusted);
  refused.failure.detail =
      "a PROXY header, from an address that --accept-proxy does not have, or behind another one";
}

}  // namespace sallyport::gateway
