#include "gateway/connection/handshake.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "gateway/connection/client.h"

namespace sallyport::gateway {
namespace {

using Step = ktls::ServerHandshake::Step;

// Established connections that were silent for this long are not expected to send at this moment.
constexpr std::chrono::seconds kQuiet{1};

/// In the list of the shard's handshakes that wait for their peer.
class WaitingForPeer {
 public:
  WaitingForPeer(ShardState& shard, Handshake& handshake) : shard_(shard), handshake_(handshake) {
    shard_.waiting_handshakes.push_back(handshake_);
    if (++shard_.waiting <= shard_.most_waiting) return;
    Handshake& longest = shard_.waiting_handshakes.front();
    leave(longest);  // at once: the next one that is too many must not find it here again
    longest.connection.end(CloseReason::kShed);
  }
  ~WaitingForPeer() { leave(handshake_); }
  WaitingForPeer(const WaitingForPeer&) = delete;
  WaitingForPeer& operator=(const WaitingForPeer&) = delete;

 private:
  void leave(Handshake& handshake) {
    if (!handshake.linked()) return;
    handshake.unlink();
    --shard_.waiting;
  }

  ShardState& shard_;
  Handshake& handshake_;
};

iouring::Task<RefusalPtr> run_handshake(Client& client) {
  ShardState& shard = client.connection.shard();
  Handshake& handshake = *client.handshake;
  ktls::ServerHandshake& tls = *handshake.tls;
  iouring::Rank rank =
      tls.hello().offers_resumption ? iouring::Rank::kResuming : iouring::Rank::kNew;
  for (;;) {
    // Established connections go first, and handshakes that were begun before new ones.
    Step step = Step::kWantRead;
    iouring::Result<> ran =
        co_await worker_for_step(shard).run(rank, [&tls, &step] { step = tls.advance(); });
    if (!ran && rank != iouring::Rank::kStarted) {
      co_return refusal(CloseReason::kShed, "waited too long for its turn");
    }
    if (!ran) co_return interrupted(ran.error().value);
    rank = iouring::Rank::kStarted;
    if (step == Step::kDone) co_return nullptr;

    iouring::Result<> sent = co_await send_output(handshake);
    if (step == Step::kFailed) co_return refused_by_tls(tls);
    if (!sent) co_return interrupted(sent.error().value);
    iouring::Result<> received = co_await receive_more(shard, handshake);
    if (!received) co_return interrupted(received.error().value);
  }
}

}  // namespace

Handshake::Handshake(LiveConnection& its_connection, iouring::Socket its_socket)
    : connection(its_connection),
      socket(std::move(its_socket)),
      scope(&connection.scope()),
      deadline(connection.shard().ring, scope) {
  const auto timeout = connection.shard().timeouts.handshake;
  if (timeout.count() > 0) deadline.arm(timeout);
}

[[gnu::noinline]] iouring::Task<RefusalPtr> handshake(Client& client) {
  Handshake& handshake = *client.handshake;
  RefusalPtr refused = co_await iouring::in_scope(handshake.scope, run_handshake(client));
  if (refused) co_return refused;
  handshake.authenticated = true;
  handshake.tls->intern_trust();
  client.connection.set_peer(handshake.tls->outcome());
  co_return nullptr;
}

iouring::IdleWorker& worker_for_step(ShardState& shard) {
  shard.idle_worker.set_quiet(shard.ring.now() - shard.relayed_at > kQuiet);
  return shard.idle_worker;
}

iouring::Task<iouring::Result<>> send_output(Handshake& handshake) {
  handshake.slot = {};
  const auto output = handshake.tls->output();
  if (output.empty()) co_return iouring::Result<>{};
  handshake.answered = true;
  iouring::Result<> sent = co_await handshake.socket.send_all(output);
  handshake.tls->output_sent();
  co_return sent;
}

iouring::Task<iouring::Result<>> receive_more(ShardState& shard, Handshake& handshake) {
  handshake.slot = {};
  const WaitingForPeer waiting(shard, handshake);
  do {
    iouring::Result<iouring::Lease> received = co_await handshake.socket.recv(shard.pools.small);
    if (!received) co_return iouring::failure(received.error().value);
    if (received->bytes().empty()) co_return iouring::failure(kEndOfFile);
    handshake.tls->feed(received->bytes());
  } while (!handshake.tls->can_advance());
  handshake.slot = shard.handshake_slots.take();
  co_return iouring::Result<>{};
}

RefusalPtr interrupted(int error) {
  if (error == ECANCELED) return refusal(CloseReason::kHandshakeTimeout);
  if (error == kEndOfFile) return refusal(CloseReason::kPeerConnectionClosed);
  return refusal(CloseReason::kPeerConnectionClosed, iouring::errno_name(error));
}

RefusalPtr refused_by_tls(const ktls::ServerHandshake& tls) {
  auto refused = refusal(tls.failure().result);
  refused->failure = tls.failure();
  return refused;
}

}  // namespace sallyport::gateway
