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

// The steps that come before those of other clients. A handshake takes two or three; one whose
// client sends it in pieces then takes its turn among the new ones.
constexpr int kPreferredSteps = 16;

// What a handshake holds beside received bytes and OpenSSL's part: its frames, socket and timers.
constexpr std::size_t kFixedMemory = 2560;

iouring::Task<RefusalPtr> run_handshake(Client& client) {
  ShardState& shard = client.connection.shard();
  Handshake& handshake = *client.handshake;
  ktls::ServerHandshake& tls = *handshake.tls;
  for (int steps = 1;; ++steps) {
    // Established connections go first, and handshakes that were begun before new ones.
    const iouring::Rank rank =
        steps < kPreferredSteps ? iouring::Rank::kStarted : iouring::Rank::kNew;
    Step step = Step::kWantRead;
    iouring::Result<> ran =
        co_await worker_for_step(shard).run(rank, [&tls, &step] { step = tls.advance(); });
    if (!ran) co_return interrupted(ran.error().value);
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

void Handshake::wait() {
  if (connection.ended_by()) return;  // a slot is held until OpenSSL's part is freed
  slot = {};
  set_waiting(kFixedMemory + received.memory() + (tls ? tls->memory() : 0),
              connection.shard().ring.now());
}

void Handshake::work(FairSlots::Slot its_slot) {
  slot = std::move(its_slot);
  set_working();
}

void Handshake::end() {
  received = {};
  slot = {};
  leave();
}

// OpenSSL's part is the idle worker's to free. Until then it counts as work, so that new handshakes
// wait for the memory.
void Handshake::on_shed() noexcept {
  received = {};
  if (tls) slot = connection.shard().handshake_slots.enter_now();
  connection.end(CloseReason::kShed);
}

[[gnu::noinline]] iouring::Task<RefusalPtr> complete_handshake(Client& client) {
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
  handshake.wait();
  const auto output = handshake.tls->output();
  if (output.empty()) co_return iouring::Result<>{};
  handshake.answered = true;
  iouring::Result<> sent = co_await handshake.socket.send_all(output);
  handshake.tls->output_sent();
  co_return sent;
}

iouring::Task<iouring::Result<>> receive_more(ShardState& shard, Handshake& handshake) {
  handshake.wait();
  do {
    iouring::Result<iouring::Lease> received = co_await handshake.socket.recv(shard.pools.small);
    if (!received) co_return iouring::failure(received.error().value);
    if (received->bytes().empty()) co_return iouring::failure(kEndOfFile);
    handshake.tls->feed(received->bytes());
    handshake.wait();
  } while (!handshake.tls->can_advance());
  handshake.work(shard.handshake_slots.enter_now());
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
