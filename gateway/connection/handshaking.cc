#include "gateway/connection/handshaking.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/connection/hand_off.h"
#include "gateway/policy/authorize.h"
#include "gateway/policy/route.h"
#include "iouring/background.h"
#include "iouring/deadline.h"
#include "ktls/handshake/client_hello.h"

namespace sallyport::gateway {
namespace {

// Among the errno values: the client ended its side.
constexpr int kEndOfFile = 0;
// Established connections that were silent for as long are not expected to speak at this moment.
constexpr std::chrono::seconds kQuiet{1};

std::unexpected<Refusal> refused(CloseReason reason, std::string detail = {}) {
  Refusal refusal{.reason = reason, .failure = {}};
  refusal.failure.detail = std::move(detail);
  return std::unexpected(std::move(refusal));
}

std::unexpected<Refusal> refused_by_tls(const ktls::ServerHandshake& handshake) {
  return std::unexpected(
      Refusal{.reason = close_reason(handshake.failure().result), .failure = handshake.failure()});
}

// The client stopped in the middle: cancelled by our deadline, or gone.
std::unexpected<Refusal> interrupted(int error) {
  if (error == ECANCELED) return refused(CloseReason::kHandshakeTimeout);
  if (error == kEndOfFile) return refused(CloseReason::kPeerConnectionClosed);
  return refused(CloseReason::kPeerConnectionClosed, iouring::errno_name(error));
}

iouring::Task<iouring::Result<>> send_output(iouring::Socket& client,
                                             ktls::ServerHandshake& handshake) {
  const auto output = handshake.output();
  if (output.empty()) co_return iouring::Result<>{};
  iouring::Result<> sent = co_await client.send_all(output);
  handshake.output_sent();
  co_return sent;
}

// A handshake and what was chosen for it: nothing in here is the connection's or the shard's, so
// that its steps may be taken on another thread.
class Handshake {
 public:
  /// `hello`: what was received so far.
  Handshake(const ShardState& shard, std::vector<std::byte> hello)
      : policy_(shard.snapshot->policy), context_(shard.tls), hello_(std::move(hello)) {}

  /// One step, and behind the last of them all that is left to do with OpenSSL. Tickets go out only
  /// to those who may pass.
  void advance() {
    if (!tls_) begin();
    step_ = tls_->advance();
    if (step_ != Step::kDone) return;
    authorized_ = authorize(*route_, tls_->outcome().trust->identity);
    if (authorized_) tls_->issue_tickets();
    output_ = tls_->free_openssl();
  }

  using Step = ktls::ServerHandshake::Step;
  /// After advance().
  [[nodiscard]] Step step() const noexcept { return step_; }
  [[nodiscard]] ktls::ServerHandshake& tls() noexcept { return *tls_; }

  void tell_hello(Connection& connection) {
    if (told_ || !tls_->saw_hello()) return;
    told_ = true;
    std::shared_ptr<const Route> route;
    if (route_ != nullptr) route = std::shared_ptr<const Route>(policy_, route_);
    connection.said_hello(tls_->sni(), std::move(route), alpn_);
  }
  [[nodiscard]] Handshaken finish() {
    return {.outcome = tls_->finish(), .authorized = authorized_, .output = std::move(output_)};
  }

 private:
  void begin() {
    tls_.emplace(std::move(context_),
                 [this](const ktls::ClientHello& hello) { return choose_route(hello); });
    tls_->feed(hello_);
    hello_ = {};
  }

  std::expected<ktls::RouteVerdict, ktls::HelloRefusal> choose_route(
      const ktls::ClientHello& hello) {
    const auto choice = choose(*policy_, hello.sni, hello.alpn);
    if (!choice) {
      return std::unexpected(choice.error() == RouteRefusal::kNoRoute
                                 ? ktls::HelloRefusal::kNoRoute
                                 : ktls::HelloRefusal::kNoApplicationProtocol);
    }
    route_ = choice->route;
    alpn_ = choice->alpn;
    return ktls::RouteVerdict{.alpn = std::string(alpn_)};
  }

  Policy::Pointer policy_;
  std::shared_ptr<ktls::ServerContext> context_;
  std::vector<std::byte> hello_;
  std::optional<ktls::ServerHandshake> tls_;
  Step step_ = Step::kWantRead;
  const Route* route_ = nullptr;  // of the policy
  std::string_view alpn_;         // of the route
  bool told_ = false;
  bool authorized_ = false;
  std::vector<std::byte> output_;
};

// The first record, whole, or what can never be one: until then there is nothing to do for the
// client, and it holds nothing but what it sent.
iouring::Task<std::expected<std::vector<std::byte>, Refusal>> receive_hello(
    Connection& connection, iouring::Socket& client) {
  ShardState& shard = connection.shard();
  std::vector<std::byte> hello;
  do {
    iouring::Result<iouring::Lease> received = co_await client.recv(shard.pools.small);
    if (!connection.handshake_started()) {
      const bool silent = !received && received.error().value == ECANCELED;
      if (!silent && (!received || received->bytes().empty())) {
        co_return refused(CloseReason::kClosedBeforeHello);
      }
      connection.start_handshake();  // silence is refused like half a ClientHello
      if (silent) co_return refused(CloseReason::kHandshakeTimeout, "not a byte received");
    }
    if (!received) co_return interrupted(received.error().value);
    const std::span<const std::byte> bytes = received->bytes();
    if (bytes.empty()) co_return refused(CloseReason::kPeerConnectionClosed);
    hello.insert(hello.end(), bytes.begin(), bytes.end());
  } while (!ktls::holds_record(hello));
  co_return hello;
}

iouring::Task<iouring::Result<>> receive_more(ShardState& shard, iouring::Socket& client,
                                              ktls::ServerHandshake& handshake) {
  do {
    iouring::Result<iouring::Lease> received = co_await client.recv(shard.pools.small);
    if (!received) co_return iouring::failure(received.error().value);
    if (received->bytes().empty()) co_return iouring::failure(kEndOfFile);
    handshake.feed(received->bytes());
  } while (!handshake.can_advance());
  co_return iouring::Result<>{};
}

iouring::Task<std::expected<Handshaken, Refusal>> run(Connection& connection,
                                                      iouring::Socket& client) {
  ShardState& shard = connection.shard();
  auto hello = co_await receive_hello(connection, client);
  if (!hello) co_return std::unexpected(std::move(hello.error()));

  iouring::Result<HandshakeSlots::Slot> slot = co_await shard.handshake_slots.enter();
  if (!slot) co_return refused(CloseReason::kShed, "waited too long for its turn");

  prepare_hand_off(shard, client);
  iouring::Rank rank =
      ktls::offers_resumption(*hello) ? iouring::Rank::kSecond : iouring::Rank::kThird;
  const auto handshake = std::make_unique<Handshake>(shard, *std::move(hello));
  for (;;) {
    // A step is up to half a millisecond of arithmetic: established connections go first, and
    // handshakes that were begun before new ones. While nobody sends, there is nobody to wait for.
    shard.background.set_quiet(shard.ring.now() - shard.relayed_at > kQuiet);
    iouring::Result<> ran =
        co_await shard.background.run(rank, [&handshake] { handshake->advance(); });
    if (!ran && rank != iouring::Rank::kFirst) {
      co_return refused(CloseReason::kShed, "waited too long for its turn");
    }
    if (!ran) co_return interrupted(ran.error().value);
    rank = iouring::Rank::kFirst;
    handshake->tell_hello(connection);
    if (handshake->step() == Handshake::Step::kDone) co_return handshake->finish();

    iouring::Result<> sent = co_await send_output(client, handshake->tls());
    if (handshake->step() == Handshake::Step::kFailed) co_return refused_by_tls(handshake->tls());
    if (!sent) co_return interrupted(sent.error().value);

    iouring::Result<> received = co_await receive_more(shard, client, handshake->tls());
    if (!received) co_return interrupted(received.error().value);
  }
}

}  // namespace

iouring::Task<std::expected<Handshaken, Refusal>> shake_hands(Connection& connection,
                                                              iouring::Socket& client) {
  ShardState& shard = connection.shard();
  iouring::CancelScope scope(&connection.scope());
  iouring::Deadline deadline(shard.ring, scope);
  if (shard.timeouts.handshake.count() > 0) deadline.arm(shard.timeouts.handshake);
  std::expected<Handshaken, Refusal> handshaken =
      co_await iouring::in_scope(scope, run(connection, client));
  co_return handshaken;
}

}  // namespace sallyport::gateway
