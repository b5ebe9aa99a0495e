#include "gateway/serve/handshaking.h"

#include <cerrno>
#include <utility>

#include "gateway/serve/hand_off.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using Handshaken = std::expected<std::unique_ptr<ktls::ServerHandshake>, Refusal>;

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

iouring::Task<Handshaken> run(Connection& connection, iouring::Socket& client) {
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
  auto handshake = std::make_unique<ktls::ServerHandshake>(
      shard.tls,
      [&connection](const ktls::ClientHello& hello) { return connection.choose_route(hello); });
  for (;;) {
    handshake->feed(received->bytes());
    received->release();
    // A step is up to half a millisecond of arithmetic: established connections go first.
    co_await shard.ring.yield();
    const ktls::ServerHandshake::Step step = handshake->advance();
    if (step == ktls::ServerHandshake::Step::kDone) co_return std::move(handshake);
    iouring::Result<> sent = co_await send_output(client, *handshake);
    if (step == ktls::ServerHandshake::Step::kFailed) co_return refused_by_tls(*handshake);
    if (!sent) co_return interrupted(sent.error().value);

    received = co_await client.recv(shard.pools.small);
    if (!received) co_return interrupted(received.error().value);
    if (received->bytes().empty()) co_return refused(CloseReason::kPeerConnectionClosed);
  }
}

}  // namespace

iouring::Task<Handshaken> shake_hands(Connection& connection, iouring::Socket& client) {
  ShardState& shard = connection.shard();
  iouring::CancelScope scope(&connection.scope());
  iouring::Deadline deadline(shard.ring, scope);
  if (shard.timeouts.handshake.count() > 0) deadline.arm(shard.timeouts.handshake);
  Handshaken handshaken = co_await iouring::in_scope(scope, run(connection, client));
  co_return handshaken;
}

}  // namespace sallyport::gateway
