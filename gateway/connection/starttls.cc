#include "gateway/connection/starttls.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "gateway/connection/client.h"
#include "gateway/connection/postgresql_opening.h"
#include "gateway/connection/proxied_client.h"
#include "gateway/connection/proxy_header_reader.h"

namespace sallyport::gateway {
namespace {

using Next = PostgresqlOpening::Next;

RefusalPtr unexpected(Client& client, std::string_view what) {
  client.connection.start_handshake();  // it must get a verdict
  return refusal(CloseReason::kUnexpectedMessage, std::string(what));
}

RefusalPtr refused(Client& client, const PostgresqlOpening& opening) {
  RefusalPtr why = unexpected(client, opening.error());
  if (begins_proxy_header(client.handshake->unread)) refuse_stray_proxy_header(client, *why);
  return why;
}

// The client sent no more, for this error, or an end of file.
RefusalPtr stopped(Client& client, const PostgresqlOpening& opening, int error) {
  if (error != ECANCELED && opening.at_beginning()) return refusal(CloseReason::kClosedBeforeHello);
  client.connection.start_handshake();  // silence is refused like half a ClientHello
  RefusalPtr why = interrupted(error);
  why->failure.detail = error == ECANCELED ? "neither SSLRequest nor a ClientHello received"
                                           : "ended within its request for encryption";
  return why;
}

bool has_come(const iouring::Socket& client) {
  std::byte next{};
  return ::recv(client.descriptor(), &next, sizeof next, MSG_PEEK | MSG_DONTWAIT) > 0;
}

iouring::Task<RefusalPtr> answer(Client& client, const PostgresqlOpening& opening,
                                 std::byte answer) {
  iouring::Socket& socket = client.handshake->socket;
  if (has_come(socket))
    co_return unexpected(client, "bytes behind a request for encryption, before its answer");
  const std::array bytes{answer};
  iouring::Result<> sent = co_await socket.send_all(bytes);
  if (!sent) co_return stopped(client, opening, sent.error().value);
  co_return nullptr;
}

iouring::Task<RefusalPtr> read_opening(Client& client) {
  Handshake& handshake = *client.handshake;
  PostgresqlOpening opening;
  Next next = opening.add(handshake.unread);
  while (next != Next::kDirectTls) {
    if (next == Next::kRefused) co_return refused(client, opening);
    handshake.unread.clear();
    if (next != Next::kReceive) {
      handshake.asked_for_tls = next == Next::kAnswerYes;
      RefusalPtr why = co_await answer(client, opening,
                                       handshake.asked_for_tls ? kPostgresqlYes : kPostgresqlNo);
      if (why || handshake.asked_for_tls) co_return why;
    }
    iouring::Result<iouring::Lease> received =
        co_await handshake.socket.recv(client.connection.shard().pools.small);
    if (!received) co_return stopped(client, opening, received.error().value);
    const std::span<const std::byte> bytes = received->bytes();
    if (bytes.empty()) co_return stopped(client, opening, kEndOfFile);
    handshake.unread.assign(bytes.begin(), bytes.end());
    next = opening.add(bytes);
  }
  co_return nullptr;
}

}  // namespace

[[gnu::noinline]] iouring::Task<RefusalPtr> answer_starttls(Client& client) {
  RefusalPtr refused = co_await iouring::in_scope(client.handshake->scope, read_opening(client));
  co_return refused;
}

std::expected<Choice, ktls::HandshakeResult> confirm_postgresql(const Handshake& handshake,
                                                                Choice choice) {
  if (!choice.alpn.empty()) return choice;  // that of the route
  const auto& offered = handshake.tls->hello().alpn;
  if (std::ranges::find(offered, std::string_view(kPostgresqlAlpn)) != offered.end()) {
    choice.alpn = kPostgresqlAlpn;
    return choice;
  }
  if (offered.empty() && handshake.asked_for_tls) return choice;
  return std::unexpected(ktls::HandshakeResult::kNoApplicationProtocol);
}

}  // namespace sallyport::gateway
