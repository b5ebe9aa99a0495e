#include "gateway/connection/connect_backend.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/backends/dial.h"
#include "gateway/backends/rendezvous.h"
#include "gateway/connection/backend_handshake.h"
#include "gateway/connection/client.h"
#include "gateway/connection/proxy_opening.h"
#include "gateway/connection/recheck.h"
#include "gateway/connection/start_records.h"
#include "iouring/both.h"
#include "iouring/cancel.h"
#include "iouring/deadline.h"
#include "iouring/result.h"
#include "ktls/records/plain_records.h"
#include "ktls/records/userspace_records.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookForRoom{10};
constexpr std::chrono::milliseconds kLongestWait{3'000};  // without a --connect-timeout

struct Dialling {
  Dialling(Client& its_client, BackendTerms its_terms)
      : client(its_client),
        terms(std::move(its_terms)),
        dial_scope(&its_client.connection.scope()),
        watch_scope(&its_client.connection.scope()) {}

  Client& client;
  BackendTerms terms;
  iouring::CancelScope dial_scope;
  iouring::CancelScope watch_scope;
  std::vector<std::byte> header;  // for the backend; empty: none
  RoutePlace place_of_route;
  bool client_spoke = false;  // what it sent follows the header at once
  bool client_left = false;
};

using Opened = std::expected<OpenedTls, OpeningFailure>;

// The header goes first, in the clear.
iouring::Task<Opened> open(const Dialling& dialling, iouring::Socket& backend,
                           const Endpoint& endpoint, OpeningWait& wait) {
  LiveConnection& connection = dialling.client.connection;
  const bool tls = dialling.terms.context != nullptr;
  if (tls) attach_kernel_tls(connection.shard(), backend);
  if (!dialling.header.empty()) {
    const iouring::Result<> sent = send_proxy_header(connection.shard(), backend, dialling.header,
                                                     tls || dialling.client_spoke);
    if (!sent) co_return std::unexpected(OpeningFailure{.sys_errno = sent.error().value});
  }
  if (!tls) co_return OpenedTls{};
  BackendCaller caller(connection);
  Opened opened = co_await shake_hands(caller, dialling.terms, backend, endpoint, wait);
  co_return opened;
}

Opening opening_of(const Dialling& dialling) {
  if (dialling.header.empty() && !dialling.terms.context) return nullptr;
  return [&dialling](iouring::Socket& backend, const Endpoint& endpoint, OpeningWait& wait) {
    return open(dialling, backend, endpoint, wait);
  };
}

// By which an endpoint is chosen; none: by nothing of the client.
std::optional<std::uint64_t> identity_for(const Route& route, const LiveConnection& connection) {
  const ktls::PeerIdentity& identity = connection.peer().identity;
  const bool named = !identity.spiffe.empty() || !identity.dns.empty();
  if (route.balance != Balance::kHashIdentity || !named) return std::nullopt;
  return rendezvous_hash(identity.display());
}

// Where the route, or each endpoint that it would take, has all the connections it may: kFull.
iouring::Task<std::expected<Dialed, DialFailure>> dial_with_room(Dialling& dialling) {
  const Route& route = *dialling.terms.route;
  ShardState& shard = dialling.client.connection.shard();
  RoutePlace& place = dialling.place_of_route;
  if (!place) {
    const RouteEndpoints* const endpoints = shard.snapshot->endpoints->find(route.name);
    if (endpoints) place = RoutePlace::enter(endpoints->life, route.limits.max_connections);
    if (endpoints && !place)
      co_return std::unexpected(DialFailure{.error = DialError::kFull, .endpoint = nullptr});
  }
  std::expected<Dialed, DialFailure> dialed =
      co_await dial(shard.ring, shard.balancer, route, shard.timeouts.connect, opening_of(dialling),
                    identity_for(route, dialling.client.connection));
  co_return dialed;
}

// Waits for room no longer than for a backend.
iouring::Task<std::expected<Dialed, DialFailure>> dial_within_limits(Dialling& dialling) {
  ShardState& shard = dialling.client.connection.shard();
  const auto time = shard.timeouts.connect.count() > 0 ? shard.timeouts.connect : kLongestWait;
  const auto until = shard.ring.now() + time;
  while (true) {
    std::expected<Dialed, DialFailure> dialed = co_await dial_with_room(dialling);
    const bool full = !dialed && dialed.error().error == DialError::kFull;
    if (!full || shard.ring.now() >= until) co_return dialed;
    iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, kLookForRoom);
    if (!slept)
      co_return std::unexpected(DialFailure{.error = DialError::kCancelled, .endpoint = nullptr});
  }
}

iouring::Task<std::expected<Dialed, DialFailure>> dial_endpoint(Dialling& dialling) {
  LiveConnection& connection = dialling.client.connection;
  std::expected<Dialed, DialFailure> dialed =
      co_await iouring::in_scope(dialling.dial_scope, dial_within_limits(dialling));
  dialling.watch_scope.cancel();
  const unsigned attempts = dialed ? dialed->attempts : dialed.error().attempts;
  if (attempts > 1) connection.count_failovers(attempts - 1);
  co_return dialed;
}

bool left(const ktls::Received& received) {
  if (received.kind == ktls::Received::Kind::kTruncated) return true;
  if (received.kind != ktls::Received::Kind::kFailed) return false;
  const ktls::RecordFailure failure = received.error.failure;
  return failure == ktls::RecordFailure::kReset || failure == ktls::RecordFailure::kPipe ||
         failure == ktls::RecordFailure::kSocket;
}

// One bounded receive, so that a client that goes away ends the dialling. One that is there and
// breaks the protocol is left to the relay, which has a reason for everything.
iouring::Task<ktls::Received> watch_client(Dialling& dialling) {
  ktls::Received early =
      co_await iouring::in_scope(dialling.watch_scope, dialling.client.records->receive());
  dialling.client_left = left(early);
  dialling.client_spoke = early.kind == ktls::Received::Kind::kData;
  if (dialling.client_left) dialling.dial_scope.cancel();
  // Slow backends must not keep the shard's few provided buffers from established connections.
  early.chunk.give_back_lease();
  co_return early;
}

CloseReason reason_of(DialError error) {
  switch (error) {
    case DialError::kNoEndpoint:
      return CloseReason::kNoEndpoint;
    case DialError::kFull:
      return CloseReason::kLimitReached;
    case DialError::kBackendRefused:
      return CloseReason::kBackendRefused;
    case DialError::kBackendTimeout:
      return CloseReason::kBackendTimeout;
    case DialError::kBackendTls:
    case DialError::kCancelled:
    case DialError::kInternal:
      break;
  }
  return CloseReason::kInternalError;
}

// Of its route, or of the route's endpoints where it has a place of the route.
RefusalPtr refused_for_room(const Dialling& dialling) {
  const auto limit = dialling.place_of_route ? metrics::Limit::kMaxConnectionsPerEndpoint
                                             : metrics::Limit::kMaxConnections;
  dialling.client.connection.route_cells().limit_reached(limit);
  return refusal(CloseReason::kLimitReached, std::string(to_string(limit)) + " reached");
}

// Of the server's certificate nothing but the text: the line's other keys are the client's.
RefusalPtr refused_by_backend_tls(const ktls::HandshakeFailure& failure, const Endpoint& endpoint) {
  std::string why =
      failure.detail.empty() ? std::string(to_string(failure.result)) : failure.detail;
  return refusal(reason_of_backend(failure), endpoint.target + ": " + std::move(why));
}

RefusalPtr refused_by_dial(const Dialling& dialling, const DialFailure& failure) {
  if (failure.error == DialError::kFull) return refused_for_room(dialling);
  if (failure.error == DialError::kBackendTls)
    return refused_by_backend_tls(*failure.tls, *failure.endpoint);
  std::string detail;
  if (failure.last_errno != 0) {
    detail = iouring::errno_name(failure.last_errno);
    if (failure.endpoint) detail += " from " + failure.endpoint->target;
  }
  return refusal(reason_of(failure.error), std::move(detail));
}

const iouring::Socket& socket_of(const Dialed& dialed) {
  return dialed.ready ? dialed.ready->records->socket() : dialed.socket;
}

std::expected<std::unique_ptr<ktls::RecordLayer>, RefusalPtr> start_backend_records(
    LiveConnection& connection, Dialed& dialed) {
  ShardState& shard = connection.shard();
  if (!dialed.ready && !dialed.tls.handshake)
    return ktls::plain_records(std::move(dialed.socket), shard.pools);
  if (!dialed.ready) {
    auto started = start_backend_tls(shard, std::move(dialed.socket), std::move(dialed.tls));
    if (!started) return std::unexpected(std::move(started.error()));
    dialed.ready = *std::move(started);
  }
  if (dialed.ready->peer) connection.set_backend_peer(dialed.ready->peer, dialed.ready->resumed);
  return std::move(dialed.ready->records);
}

}  // namespace

[[gnu::noinline]] iouring::Task<std::expected<std::unique_ptr<ktls::RecordLayer>, RefusalPtr>>
connect_backend(Client& client, std::vector<std::byte> certificate) {
  LiveConnection& connection = client.connection;
  const auto started = Clock::now();
  std::optional<BackendTerms> terms = backend_terms(connection);
  if (!terms) co_return std::unexpected(refusal(CloseReason::kRouteGone));
  if (terms->route->backend_tls && !terms->context)
    co_return std::unexpected(refusal(CloseReason::kInternalError, "no TLS context of its route"));
  Dialling dialling(client, *std::move(terms));
  if (connection.route().proxy) {
    auto header = make_proxy_header(client, std::exchange(certificate, {}));
    if (!header) co_return std::unexpected(refusal(CloseReason::kInternalError, header.error()));
    dialling.header = *std::move(header);
  }
  auto [dialed, early] = co_await iouring::both(dial_endpoint(dialling), watch_client(dialling));
  if (const auto ended = connection.ended_by()) co_return std::unexpected(refusal(*ended));
  if (dialling.client_left) {
    co_return std::unexpected(refusal(CloseReason::kPeerConnectionClosed,
                                      "the client left while a backend was being dialled"));
  }
  if (!dialed) co_return std::unexpected(refused_by_dial(dialling, dialed.error()));
  const auto local = socket_of(*dialed).local_address();
  connection.set_backend(std::move(dialed->in_use), std::move(dialling.place_of_route),
                         Clock::now() - started, local.value_or(iouring::SocketAddress()));
  if (dialling.terms.route->warm) connection.set_warm(dialed->ready != nullptr);
  if (early.kind != ktls::Received::Kind::kFailed) {
    client.early = std::make_unique<ktls::Received>(std::move(early));
  }
  auto records = start_backend_records(connection, *dialed);
  if (!records) co_return records;
  if (const auto failure = judge_new_backend(connection)) {
    (*records)->socket().reset();
    co_return std::unexpected(refused_by_backend_tls(*failure, *connection.backend()));
  }
  co_return records;
}

std::expected<std::unique_ptr<ReadyConnection>, RefusalPtr> start_backend_tls(
    ShardState& shard, iouring::Socket backend, OpenedTls tls) {
  const ktls::Outcome outcome = tls.handshake->finish();
  auto ready = std::make_unique<ReadyConnection>();
  ready->peer = outcome.trust;
  ready->resumed = outcome.resumed;
  ready->records = ktls::userspace_records(std::move(backend), outcome.state, shard.pools,
                                           outcome.leftover, ktls::Role::kClient);
  ready->records->collect_tickets(std::move(tls.tickets));
  RefusalPtr refused = choose_records(shard, ready->records, ktls::Role::kClient);
  if (refused) return std::unexpected(std::move(refused));
  return ready;
}

}  // namespace sallyport::gateway
