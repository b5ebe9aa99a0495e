#include "gateway/connection/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "gateway/backends/dial.h"
#include "gateway/connection/hand_off.h"
#include "gateway/connection/handshaking.h"
#include "gateway/connection/lingering_close.h"
#include "gateway/connection/relay.h"
#include "iouring/both.h"
#include "iouring/deadline.h"
#include "ktls/records/plain_records.h"
#include "ktls/records/userspace_records.h"

namespace sallyport::gateway {
namespace {

using Clock = std::chrono::steady_clock;

// A connection that is younger does not suffer from handshakes: it is one.
constexpr std::chrono::seconds kEstablished{1};

std::string hexadecimal(std::uint64_t id) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016" PRIx64, id);
  return text.data();
}

iouring::PeerAddress client_address(const iouring::Socket& client) {
  const iouring::Result<iouring::SocketAddress> peer = client.peer_address();
  return peer ? iouring::PeerAddress(*peer) : iouring::PeerAddress();
}

// The alert that a refusal under the application keys carries.
ktls::AlertDescription alert_of(CloseReason reason) {
  return reason == CloseReason::kNotAuthorized ? ktls::AlertDescription::kAccessDenied
                                               : ktls::AlertDescription::kInternalError;
}

CloseReason reason_of(DialError error) {
  switch (error) {
    case DialError::kNoEndpoint:
      return CloseReason::kNoEndpoint;
    case DialError::kBackendRefused:
      return CloseReason::kBackendRefused;
    case DialError::kBackendTimeout:
      return CloseReason::kBackendTimeout;
    case DialError::kCancelled:
    case DialError::kInternal:
      break;
  }
  return CloseReason::kInternalError;
}

}  // namespace

Connection::Connection(ShardState& shard, ServedListener& listener, iouring::CancelScope& scope,
                       iouring::PeerAddress client)
    : shard_(shard),
      listener_(listener),
      scope_(scope),
      id_(shard.next_id++),
      accepted_at_(shard.ring.now()),
      open_(listener.cells, CloseReason::kInternalError),
      client_(client) {
  shard_.live.push_back(*this);
}

Connection::~Connection() {
  unlink();
  open_.ends_with(reason_);  // whoever reads the line finds it counted
  shard_.connection_log.write(record());
}

void Connection::end(CloseReason reason) noexcept {
  if (!ended_by_) ended_by_ = reason;
  scope_.cancel();
}

void Connection::said_hello(std::string_view sni, std::shared_ptr<const Route> route,
                            std::string_view alpn) {
  handshake_->terms.sni = sni;
  handshake_->terms.alpn = alpn;
  route_ = std::move(route);
  if (route_) open_.routed(route_->name);
}

void Connection::start_handshake() {
  // Not make_unique: an aggregate whose first member does not move.
  handshake_.reset(new Handshake{
      .counted = metrics::StartedHandshake(listener_.cells, ktls::HandshakeResult::kUnknownFailure),
      .first_byte_at = Clock::now(),
      .terms = {}});
}

void Connection::recognise(const ktls::Outcome& outcome) {
  handshake_took_ = Clock::now() - handshake_->first_byte_at;
  trust_ = outcome.trust;
  authenticated_at_ = outcome.authenticated_at;
  resumed_ = outcome.resumed;
  handshake_->terms.version = outcome.version;
  handshake_->terms.cipher = outcome.cipher;
  handshake_->terms.group = outcome.group;
}

void Connection::judge(ktls::HandshakeResult result) {
  if (!handshake_) return;
  if (handshake_took_.count() == 0) handshake_took_ = Clock::now() - handshake_->first_byte_at;
  handshake_->counted.ends_with(result, resumed_, handshake_took_);
  terms_ = shard_.terms.intern(std::move(handshake_->terms));
  handshake_.reset();
}

const Terms* Connection::terms() const noexcept {
  return handshake_ ? &handshake_->terms : terms_.get();
}

void Connection::admit() {
  judge(ktls::HandshakeResult::kSuccess);
  shard_.metrics.negotiated(terms_->version, terms_->group, terms_->cipher);
}

void Connection::refuse(Refusal refusal) {
  closes_with(refusal.reason);
  judge(handshake_result(refusal.reason));
  refusal_ = std::make_unique<Refusal>(std::move(refusal));
}

void Connection::backend_connected(std::shared_ptr<const Endpoint> endpoint, InUse in_use,
                                   std::chrono::nanoseconds took) {
  backend_ = std::move(endpoint);
  in_use_ = std::move(in_use);
  connect_took_ = took;
  open_.route().backend_connected(took);
}

void Connection::received_from(metrics::Leg leg, std::size_t bytes) noexcept {
  if (shard_.ring.now() - accepted_at_ > kEstablished) shard_.relayed_at = shard_.ring.now();
  open_.route().received(leg, bytes);
  if (leg == metrics::Leg::kClient) received_bytes_ += bytes;
}

void Connection::sent_to(metrics::Leg leg, std::size_t bytes) noexcept {
  open_.route().sent(leg, bytes);
  if (leg == metrics::Leg::kClient) sent_bytes_ += bytes;
}

Connection::Description Connection::describe() const {
  return {.id = hexadecimal(id_),
          .client = client_.expand().to_string(),
          .identity = trust_ ? std::string(trust_->identity.display()) : std::string(),
          .listener = listener_.text,
          .route = route_ ? route_->name : std::string(),
          .backend = backend_ ? backend_->target : std::string(),
          .cipher = std::string(terms() != nullptr ? terms()->cipher : std::string_view()),
          .records = records_ ? to_string(*records_) : std::string_view(),
          .since = std::chrono::system_clock::now() -
                   std::chrono::duration_cast<std::chrono::system_clock::duration>(Clock::now() -
                                                                                   accepted_at_),
          .received_bytes = received_bytes_,
          .sent_bytes = sent_bytes_};
}

ConnectionRecord Connection::record() const {
  const Description known = describe();
  ConnectionRecord record;
  record.time = std::chrono::system_clock::now();
  record.id = known.id;
  record.listener = known.listener;
  record.client = known.client;
  record.identity = known.identity;
  if (const Terms* const agreed = terms()) {
    record.sni = agreed->sni;
    record.alpn = agreed->alpn;
    record.tls = agreed->version;
    record.cipher = agreed->cipher;
    record.group = agreed->group;
  }
  record.route = known.route;
  record.backend = known.backend;
  if (trust_) record.resumed = resumed_;
  record.records = known.records;
  record.received_bytes = received_bytes_;
  record.sent_bytes = sent_bytes_;
  if (handshake_took_.count() > 0) record.handshake = handshake_took_;
  if (backend_) record.connect = connect_took_;
  record.duration = Clock::now() - accepted_at_;
  record.reason = reason_;
  if (refusal_) {
    record.refused = true;
    record.issuer = refusal_->failure.issuer;
    record.serial = refusal_->failure.serial;
    record.not_after = refusal_->failure.not_after;
    record.detail = refusal_->failure.detail;
  }
  return record;
}

namespace {

using Layer = std::unique_ptr<ktls::RecordLayer>;

// Authorised or not, the peer is known: from here on it is spoken to under the application keys.
iouring::Task<std::expected<Layer, Refusal>> take_over_records(Connection& connection,
                                                               iouring::Socket client,
                                                               Handshaken handshaken) {
  if (!handshaken.output.empty()) {
    // Tickets are in no hurry: TCP keeps them for the backend's first bytes, 200 ms at most
    // (tcp(7)).
    iouring::Result<> sent = co_await client.send_all(handshaken.output, MSG_MORE);
    if (!sent) {
      co_return std::unexpected(
          Refusal{.reason = connection.ended_by().value_or(CloseReason::kPeerConnectionClosed),
                  .failure = {.detail = sent.error().name()}});
    }
  }
  connection.records_are_made_by(ktls::RecordModel::kUserspace);
  co_return ktls::userspace_records(std::move(client), handshaken.outcome.state,
                                    connection.shard().pools, handshaken.outcome.leftover);
}

struct Dialling {
  Connection& connection;
  iouring::CancelScope dial_scope;
  iouring::CancelScope watch_scope;
  bool client_left = false;
};

iouring::Task<std::expected<Dialed, DialFailure>> dial_backend(Dialling& dialling) {
  Connection& connection = dialling.connection;
  ShardState& shard = connection.shard();
  std::expected<Dialed, DialFailure> dialed = co_await iouring::in_scope(
      dialling.dial_scope,
      dial(shard.ring, shard.balancer, connection.route(), shard.timeouts.connect));
  dialling.watch_scope.cancel();
  co_return dialed;
}

bool gone(const ktls::Received& received) {
  if (received.kind == ktls::Received::Kind::kTruncated) return true;
  if (received.kind != ktls::Received::Kind::kFailed) return false;
  const ktls::RecordFailure failure = received.error.failure;
  return failure == ktls::RecordFailure::kReset || failure == ktls::RecordFailure::kPipe ||
         failure == ktls::RecordFailure::kSocket;
}

// One bounded receive, so that a client that goes away does not make us dial on for nobody. One
// that is there and breaks the protocol is left to the relay, which has a reason for everything.
iouring::Task<ktls::Received> watch_client(Dialling& dialling, ktls::RecordLayer& client) {
  ktls::Received early = co_await iouring::in_scope(dialling.watch_scope, client.receive());
  dialling.client_left = gone(early);
  if (dialling.client_left) dialling.dial_scope.cancel();
  // Slow backends must not keep the shard's few provided buffers from those who are served.
  early.chunk.give_back_lease();
  co_return early;
}

struct Connected {
  Layer backend;
  std::unique_ptr<ktls::Received> early;  // null: nothing came meanwhile
};

iouring::Task<std::expected<Connected, Refusal>> connect_backend(Connection& connection,
                                                                 ktls::RecordLayer& client) {
  const auto started = Clock::now();
  Dialling dialling{.connection = connection,
                    .dial_scope = iouring::CancelScope(&connection.scope()),
                    .watch_scope = iouring::CancelScope(&connection.scope())};
  auto [dialed, early] =
      co_await iouring::both(dial_backend(dialling), watch_client(dialling, client));
  if (const auto ended = connection.ended_by()) {
    co_return std::unexpected(Refusal{.reason = *ended, .failure = {}});
  }
  if (dialling.client_left) {
    co_return std::unexpected(
        Refusal{.reason = CloseReason::kPeerConnectionClosed,
                .failure = {.detail = "the client left while a backend was being dialled"}});
  }
  if (!dialed) {
    Refusal refusal{.reason = reason_of(dialed.error().error), .failure = {}};
    if (dialed.error().last_errno != 0) {
      refusal.failure.detail = iouring::errno_name(dialed.error().last_errno);
      if (dialed.error().endpoint) {
        refusal.failure.detail += " from " + dialed.error().endpoint->target;
      }
    }
    co_return std::unexpected(std::move(refusal));
  }
  connection.backend_connected(std::move(dialed->endpoint), std::move(dialed->in_use),
                               Clock::now() - started);
  Connected connected{
      .backend = ktls::plain_records(std::move(dialed->socket), connection.shard().pools),
      .early = nullptr};
  if (early.kind != ktls::Received::Kind::kFailed) {
    connected.early = std::make_unique<ktls::Received>(std::move(early));
  }
  co_return connected;
}

// Both ends leave the process's descriptor budget. Where there is no room in the ring's table, or
// no table, they stay ordinary.
iouring::Task<void> move_to_table(ktls::RecordLayer& client, ktls::RecordLayer& backend) {
  [[maybe_unused]] iouring::Result<> client_moved = co_await client.socket().to_table();
  [[maybe_unused]] iouring::Result<> backend_moved = co_await backend.socket().to_table();
}

// `client` is null when nothing can be said to it any more.
iouring::Task<void> turn_away(Connection& connection, ktls::RecordLayer* client, Refusal refusal) {
  const CloseReason reason = refusal.reason;
  connection.refuse(std::move(refusal));
  if (client == nullptr || reason == CloseReason::kPeerConnectionClosed) co_return;
  if (reason == CloseReason::kDrain) {
    co_await part_with_close(connection.shard(), *client);
  } else {
    co_await part_with_alert(connection.shard(), *client, alert_of(reason));
  }
}

[[gnu::noinline]] iouring::Task<void> shed(Connection& connection, iouring::Socket& client,
                                           std::string detail) {
  if (!connection.handshake_started()) connection.start_handshake();
  connection.refuse({.reason = CloseReason::kShed, .failure = {.detail = std::move(detail)}});
  co_await part_with_plaintext_alert(connection.shard(), client,
                                     ktls::AlertDescription::kInternalError);
}

// The handshake came to no end, or to a refusal whose alert has been sent.
iouring::Task<void> leave_unrecognised(Connection& connection, iouring::Socket& client,
                                       Refusal refusal) {
  if (const auto ended = connection.ended_by()) refusal.reason = *ended;
  switch (refusal.reason) {
    case CloseReason::kShed:
      co_await shed(connection, client, std::move(refusal.failure.detail));
      break;
    case CloseReason::kClosedBeforeHello:
      connection.closes_with(refusal.reason);
      break;
    default:
      connection.refuse(std::move(refusal));
      co_await part(connection.shard(), client);
      break;
  }
}

// Both ends of a connection that was let in.
struct Ends {
  Layer client;
  Layer backend;
  std::unique_ptr<ktls::Received> early;  // what the client sent while the backend was dialled
};

// From the first byte to a backend: one phase a line, each refusal with its reason. Not inlined:
// this frame is large and gone before the relay begins, which may last for days.
[[gnu::noinline]] iouring::Task<std::optional<Ends>> let_in(Connection& connection,
                                                            iouring::Socket socket) {
  auto handshaken = co_await shake_hands(connection, socket);
  if (!handshaken) {
    co_await leave_unrecognised(connection, socket, std::move(handshaken.error()));
    co_return std::nullopt;
  }
  connection.recognise(handshaken->outcome);
  const bool authorized = handshaken->authorized;
  auto client = co_await take_over_records(connection, std::move(socket), *std::move(handshaken));
  if (!client) {
    connection.refuse(std::move(client.error()));
    co_return std::nullopt;
  }
  if (!authorized) {
    co_await turn_away(connection, client->get(),
                       {.reason = CloseReason::kNotAuthorized, .failure = {}});
    co_return std::nullopt;
  }
  auto handed = hand_off(connection, *client);
  if (!handed) {
    co_await turn_away(connection, client->get(), std::move(handed.error()));
    co_return std::nullopt;
  }
  auto connected = co_await connect_backend(connection, **client);
  if (!connected) {
    co_await turn_away(connection, client->get(), std::move(connected.error()));
    co_return std::nullopt;
  }
  connection.admit();
  co_await move_to_table(**client, *connected->backend);
  co_return Ends{.client = *std::move(client),
                 .backend = std::move(connected->backend),
                 .early = std::move(connected->early)};
}

}  // namespace

iouring::Task<void> serve(ShardState& shard, ServedListener& listener, iouring::Socket client) {
  iouring::CancelScope* scope = co_await iouring::current_scope();
  Connection connection(shard, listener, *scope, client_address(client));
  const auto place = shard.limit.enter();
  if (!place) {
    co_await shed(connection, client, "--max-connections reached");
    co_return;
  }
  std::optional<Ends> ends = co_await let_in(connection, std::move(client));
  if (!ends) co_return;
  const CountedRecords counted(shard.metrics, *ends->client);
  const CloseReason reason =
      co_await relay(connection, *ends->client, *ends->backend, std::move(ends->early));
  connection.closes_with(reason);
}

}  // namespace sallyport::gateway
