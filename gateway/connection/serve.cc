#include "gateway/connection/serve.h"

#include <algorithm>
#include <cstddef>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/connection/backend_fault.h"
#include "gateway/connection/backend_linger.h"
#include "gateway/connection/client.h"
#include "gateway/connection/client_limits.h"
#include "gateway/connection/connect_backend.h"
#include "gateway/connection/hello.h"
#include "gateway/connection/proxied_client.h"
#include "gateway/connection/recheck.h"
#include "gateway/connection/relay.h"
#include "gateway/connection/start_records.h"
#include "gateway/policy/route.h"

namespace sallyport::gateway {
namespace {

using BackendPtr = std::unique_ptr<ktls::RecordLayer>;

iouring::Task<std::expected<BackendPtr, RefusalPtr>> establish(Client& client);
iouring::Task<std::expected<BackendPtr, RefusalPtr>> connect(Client& client);
iouring::PeerAddress address_of(const iouring::Socket& client);
void accept_route(Client& client, const Choice& choice);
RefusalPtr refused_by_judgement(LiveConnection& connection, ktls::HandshakeResult result);
iouring::Task<void> move_to_table(ktls::RecordLayer& client, ktls::RecordLayer& backend);

}  // namespace

// An idle connection waits in this frame and in the relay's: what comes before the relay has frames
// of its own, not inlined, which are gone by then.
iouring::Task<void> serve(ShardState& shard, ServedListener& listener, iouring::Socket socket) {
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  LiveConnection connection(shard, listener, *scope, address_of(socket));
  Client client(connection, std::move(socket));

  auto backend = co_await establish(client);
  if (!backend) co_return co_await refuse(client, std::move(backend.error()));

  RelayEnd end;
  {
    const CountedRecords counted(client);
    end = co_await relay(client, **backend);
  }
  connection.set_reason(end.reason);
  if (end.reason == CloseReason::kBackendReset) count_backend_reset(connection, end.client_ended);
  if (!end.lingers) co_return;
  client.records.reset();
  co_await linger_for_backend(connection, (*backend)->socket(), *end.lingers);
}

namespace {

// From accept to a connected backend, one phase after another, each with its refusals.
[[gnu::noinline]] iouring::Task<std::expected<BackendPtr, RefusalPtr>> establish(Client& client) {
  LiveConnection& connection = client.connection;

  client.place = connection.shard().limit.enter();
  if (!client.place)
    co_return std::unexpected(refusal(CloseReason::kShed, "--max-connections reached"));

  RefusalPtr refused;
  if (comes_by_proxy(connection)) refused = co_await receive_proxy_header(client);
  if (refused) co_return std::unexpected(std::move(refused));

  refused = limit_connections_of_address(client);
  if (refused) co_return std::unexpected(std::move(refused));

  refused = co_await receive_hello(client);
  if (refused) co_return std::unexpected(std::move(refused));

  const ktls::ClientHello& hello = client.handshake->tls->hello();
  const auto route = choose(*client.handshake->policy, hello.sni, hello.alpn);
  if (!route) co_return std::unexpected(refusal(route.error()));
  accept_route(client, *route);

  refused = co_await complete_handshake(client);
  if (refused) co_return std::unexpected(std::move(refused));

  // By the generation in force now, which may be later than that of the ClientHello.
  const Verdict verdict = judge_now(connection);
  if (const auto result = verdict.result(); result != ktls::HandshakeResult::kSuccess)
    co_return std::unexpected(refused_by_judgement(connection, result));
  refused = limit_identity(client);
  if (refused) co_return std::unexpected(std::move(refused));
  connection.mark_established(*verdict.rule);
  watch_expiry(connection);

  // The hello goes with the handshake, when records start.
  std::vector<std::string> offered = alpn_offered(hello);
  auto backend = co_await connect(client);
  if (!backend) backend.error()->alpn_offered = std::move(offered);
  co_return backend;
}

[[gnu::noinline]] iouring::Task<std::expected<BackendPtr, RefusalPtr>> connect(Client& client) {
  std::vector<std::byte> certificate = client.handshake->tls->take_certificate();
  RefusalPtr refused = co_await start_records(client);
  if (refused) co_return std::unexpected(std::move(refused));

  auto backend = co_await connect_backend(client, std::move(certificate));
  if (backend) {
    look_at_endpoint(client.connection);
    co_await move_to_table(*client.records, **backend);
  }
  co_return backend;
}

iouring::PeerAddress address_of(const iouring::Socket& client) {
  const iouring::Result<iouring::SocketAddress> peer = client.peer_address();
  return peer ? iouring::PeerAddress(*peer) : iouring::PeerAddress();
}

// Judged once more, for the steps: those that are let in do not pay for them.
RefusalPtr refused_by_judgement(LiveConnection& connection, ktls::HandshakeResult result) {
  RefusalPtr refused = refusal(result);
  ktls::JudgementSteps& steps = refused->failure.steps;
  [[maybe_unused]] const Verdict again = judge_now(connection, &steps);
  const auto failed = std::ranges::find(steps, false, &ktls::JudgementStep::passed);
  if (failed != steps.end()) refused->failure.detail = failed->finding;
  return refused;
}

void accept_route(Client& client, const Choice& choice) {
  Handshake& handshake = *client.handshake;
  client.connection.set_route(std::shared_ptr<const Route>(handshake.policy, choice.route),
                              choice.alpn);
  handshake.tls->accept({.alpn = choice.alpn,
                         .clients = allowed_domains(*choice.route),
                         .context = (*handshake.contexts)[choice.route->files],
                         .ticket_binding = &choice.route->name_hash,
                         .certificate = passes_certificate(*choice.route)});
}

// Both ends leave the process's descriptor budget. Where there is no room in the ring's table, or
// no table, they stay ordinary.
iouring::Task<void> move_to_table(ktls::RecordLayer& client, ktls::RecordLayer& backend) {
  [[maybe_unused]] iouring::Result<> client_moved = co_await client.socket().to_table();
  [[maybe_unused]] iouring::Result<> backend_moved = co_await backend.socket().to_table();
}

}  // namespace
}  // namespace sallyport::gateway
