#include "gateway/serve/handshaking.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "gateway/policy/authorize.h"
#include "gateway/policy/route.h"
#include "gateway/serve/hand_off.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

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
// that steps may be taken anywhere.
struct Handshake {
  explicit Handshake(const ShardState& shard)
      : policy(shard.snapshot->policy),
        tls(shard.tls, [this](const ktls::ClientHello& hello) { return choose_route(hello); }) {}

  std::expected<ktls::RouteVerdict, ktls::HelloRefusal> choose_route(
      const ktls::ClientHello& hello) {
    const auto choice = choose(*policy, hello.sni, hello.alpn);
    if (!choice) {
      return std::unexpected(choice.error() == RouteRefusal::kNoRoute
                                 ? ktls::HelloRefusal::kNoRoute
                                 : ktls::HelloRefusal::kNoApplicationProtocol);
    }
    route = choice->route;
    alpn = choice->alpn;
    return ktls::RouteVerdict{.alpn = std::string(alpn)};
  }

  std::shared_ptr<const Route> shared_route() const {
    return route != nullptr ? std::shared_ptr<const Route>(policy, route) : nullptr;
  }

  // One step, and after the last of them all that is left to do with OpenSSL: tickets go out only
  // to those who may pass.
  void advance() {
    step = tls.advance();
    if (step != ktls::ServerHandshake::Step::kDone) return;
    authorized = authorize(*route, tls.outcome().trust->identity);
    if (authorized) tls.issue_tickets();
    output = tls.free_openssl();
  }

  Policy::Pointer policy;
  const Route* route = nullptr;  // of the policy
  std::string_view alpn;         // of the route
  ktls::ServerHandshake tls;
  ktls::ServerHandshake::Step step = ktls::ServerHandshake::Step::kWantRead;
  bool authorized = false;
  std::vector<std::byte> output;
};

iouring::Task<std::expected<Handshaken, Refusal>> run(Connection& connection,
                                                      iouring::Socket& client) {
  ShardState& shard = connection.shard();

  // Until the first byte there is no handshake, and nothing is held.
  iouring::Result<iouring::Lease> received = co_await client.recv(shard.pools.small);
  if (!received && received.error().value == ECANCELED) {
    connection.start_handshake();  // silence is refused like half a ClientHello
    co_return refused(CloseReason::kHandshakeTimeout, "not a byte received");
  }
  if (!received || received->bytes().empty()) co_return refused(CloseReason::kClosedBeforeHello);
  connection.start_handshake();

  iouring::Result<HandshakeSlots::Slot> slot = co_await shard.handshake_slots.enter();
  if (!slot) co_return refused(CloseReason::kShed, "waited too long for its turn");

  prepare_hand_off(shard, client);
  const auto handshake = std::make_unique<Handshake>(shard);
  bool said_hello = false;
  for (;;) {
    handshake->tls.feed(received->bytes());
    received->release();
    // A step is up to half a millisecond of arithmetic: established connections go first.
    co_await shard.ring.yield();
    handshake->advance();
    if (!said_hello && handshake->tls.saw_hello()) {
      said_hello = true;
      connection.said_hello(handshake->tls.sni(), handshake->shared_route(), handshake->alpn);
    }
    if (handshake->step == ktls::ServerHandshake::Step::kDone) {
      co_return Handshaken{.outcome = handshake->tls.finish(),
                           .authorized = handshake->authorized,
                           .output = std::move(handshake->output)};
    }
    iouring::Result<> sent = co_await send_output(client, handshake->tls);
    if (handshake->step == ktls::ServerHandshake::Step::kFailed) {
      co_return refused_by_tls(handshake->tls);
    }
    if (!sent) co_return interrupted(sent.error().value);

    received = co_await client.recv(shard.pools.small);
    if (!received) co_return interrupted(received.error().value);
    if (received->bytes().empty()) co_return refused(CloseReason::kPeerConnectionClosed);
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
