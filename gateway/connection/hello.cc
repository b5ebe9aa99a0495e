#include "gateway/connection/hello.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "gateway/connection/client.h"
#include "gateway/connection/client_limits.h"
#include "gateway/connection/proxied_client.h"
#include "gateway/connection/proxy_header_reader.h"
#include "gateway/connection/start_records.h"
#include "ktls/handshake/client_hello.h"

namespace sallyport::gateway {
namespace {

using Step = ktls::ServerHandshake::Step;

// Whether the client has ended its side and sent nothing behind its ClientHello.
bool is_gone(const iouring::Socket& client) {
  std::byte next{};
  const ssize_t got = ::recv(client.descriptor(), &next, sizeof next, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

void begin_handshake(Client& client) {
  LiveConnection& connection = client.connection;
  connection.start_handshake();
  client.handshake->join(connection.shard().handshake_memory, connection.client().network(),
                         connection.shard().ring.now());
}

// Receives until OpenSSL can go on: a whole ClientHello, or bytes that can never be one.
iouring::Task<RefusalPtr> receive_message(Client& client) {
  LiveConnection& connection = client.connection;
  Handshake& handshake = *client.handshake;
  bool complete = false;
  if (const auto unread = std::move(handshake.unread); !unread.empty()) {
    begin_handshake(client);
    complete = handshake.received.add(unread);
    handshake.wait();
  }
  while (!complete) {
    iouring::Result<iouring::Lease> received =
        co_await handshake.socket.recv(connection.shard().pools.small);
    if (!connection.handshake_started()) {
      const bool silent = !received && received.error().value == ECANCELED;
      if (!silent && (!received || received->bytes().empty())) {
        co_return refusal(CloseReason::kClosedBeforeHello);
      }
      begin_handshake(client);  // silence is refused like half a ClientHello
      if (silent) co_return refusal(CloseReason::kHandshakeTimeout, "not a byte received");
    }
    if (!received) co_return interrupted(received.error().value);
    const std::span<const std::byte> bytes = received->bytes();
    if (bytes.empty()) co_return refusal(CloseReason::kPeerConnectionClosed);
    complete = handshake.received.add(bytes);
    handshake.wait();
  }
  co_return nullptr;
}

// OpenSSL's part begins when it is the handshake's turn: those that wait for it cost their
// ClientHello only.
iouring::Task<RefusalPtr> read_hello(Client& client) {
  ShardState& shard = client.connection.shard();
  Handshake& handshake = *client.handshake;
  handshake.policy = shard.snapshot->policy;
  handshake.contexts = shard.tls;
  Step step = Step::kWantRead;
  const iouring::Rank rank =
      handshake.received.offers_resumption() ? iouring::Rank::kResuming : iouring::Rank::kNew;
  iouring::Result<> ran = co_await worker_for_step(shard).run(rank, [&handshake, &step] {
    handshake.tls = std::make_unique<ktls::ServerHandshake>(handshake.contexts->front());
    handshake.tls->feed(handshake.received.bytes());
    step = handshake.tls->advance();
  });
  if (!ran) co_return refusal(CloseReason::kShed, "waited too long for its turn");
  const bool stray_header = begins_proxy_header(handshake.received.bytes());
  handshake.received = {};
  ktls::ServerHandshake& tls = *handshake.tls;
  while (step == Step::kWantRead) {
    iouring::Result<> received = co_await receive_more(shard, handshake);
    if (!received) co_return interrupted(received.error().value);
    ran = co_await worker_for_step(shard).run(iouring::Rank::kNew,
                                              [&tls, &step] { step = tls.advance(); });
    if (!ran) co_return interrupted(ran.error().value);
  }
  if (step == Step::kHello) co_return nullptr;
  [[maybe_unused]] iouring::Result<> sent = co_await send_output(handshake);
  RefusalPtr refused = refused_by_tls(tls);
  if (stray_header) refuse_stray_proxy_header(client, *refused);
  co_return refused;
}

iouring::Task<RefusalPtr> run_hello(Client& client) {
  RefusalPtr refused = co_await receive_message(client);
  if (refused) co_return refused;
  refused = limit_handshakes_of_address(client);
  if (refused) co_return refused;
  ShardState& shard = client.connection.shard();
  const bool waits = shard.handshake_slots.full();
  iouring::Result<FairSlots::Slot> slot =
      co_await shard.handshake_slots.enter(client.connection.client().network());
  if (!slot) co_return refusal(CloseReason::kShed, "waited too long for its turn");
  client.handshake->work(*std::move(slot));
  if (waits && is_gone(client.handshake->socket)) co_return interrupted(kEndOfFile);
  attach_kernel_tls(shard, client.handshake->socket);
  refused = co_await read_hello(client);
  if (refused) co_return refused;
  client.connection.set_sni(client.handshake->tls->hello().sni);
  co_return nullptr;
}

}  // namespace

[[gnu::noinline]] iouring::Task<RefusalPtr> receive_hello(Client& client) {
  RefusalPtr refused = co_await iouring::in_scope(client.handshake->scope, run_hello(client));
  co_return refused;
}

}  // namespace sallyport::gateway
