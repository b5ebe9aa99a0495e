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
#include "gateway/connection/judge_live.h"
#include "gateway/connection/proxied_client.h"
#include "gateway/connection/recheck.h"
#include "gateway/connection/relay.h"
#include "gateway/connection/start_records.h"
#include "gateway/connection/starttls.h"
#include "gateway/policy/route.h"

namespace sallyport::gateway {
namespace {

using BackendPtr = std::unique_ptr<ktls::RecordLayer>;

iouring::Task<std::expected<BackendPtr, RefusalPtr>> establish(Client& client);
iouring::Task<std::expected<BackendPtr, RefusalPtr>> establish_local(Client& client);
iouring::Task<std::expected<BackendPtr, RefusalPtr>> connect(Client& client);
iouring::PeerAddress address_of(const iouring::Socket& client);
std::expected<Choice, ktls::HandshakeResult> choose_route(const Client& client);
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

  std::expected<BackendPtr, RefusalPtr> backend;
  {
    auto established = connection.is_egress() ? establish_local(client) : establish(client);
    backend = co_await std::move(established);
  }
  if (!backend) co_return co_await refuse(client, std::move(backend.error()));

  RelayEnd end;
  {
    const CountedRecords counted(client, **backend);
    end = co_await relay(client, **backend);
  }
  connection.set_reason(end.reason);
  if (end.reason == CloseReason::kBackendReset || end.reason == CloseReason::kBackendAlert)
    count_backend_reset(connection, end.client_ended);
  if (!end.lingers) co_return;
  client.records.reset();
  co_await linger_for_backend(connection, **backend, *end.lingers);
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

  if (connection.listener().starttls_postgresql) refused = co_await answer_starttls(client);
  if (refused) co_return std::unexpected(std::move(refused));

  refused = co_await receive_hello(client);
  if (refused) co_return std::unexpected(std::move(refused));

  const auto route = choose_route(client);
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
  std::vector<std::string> offered = alpn_offered(client.handshake->tls->hello());
  auto backend = co_await connect(client);
  if (!backend) backend.error()->alpn_offered = std::move(offered);
  co_return backend;
}

[[gnu::noinline]] iouring::Task<std::expected<BackendPtr, RefusalPtr>> connect(Client& client) {
  std::vector<std::byte> certificate = client.handshake->tls->take_certificate();
  RefusalPtr refused = co_await start_records(client);
  if (refused) co_return std::unexpected(std::move(refused));

  auto backend = co_await connect_backend(client, std::move(certificate));
  if (backend) co_await move_to_table(*client.records, **backend);
  co_return backend;
}

// An application of this machine: what let it in is the access to the socket. No TLS with it.
[[gnu::noinline]] iouring::Task<std::expected<BackendPtr, RefusalPtr>> establish_local(
    Client& client) {
  LiveConnection& connection = client.connection;
  ShardState& shard = connection.shard();

  client.place = shard.limit.enter();
  if (!client.place)
    co_return std::unexpected(refusal(CloseReason::kShed, "--max-connections reached"));

  const Policy::Pointer& policy = shard.snapshot->policy;
  const Route* const route = policy->find(connection.listener().egress_route);
  if (route == nullptr || !route->backend_tls)  // a policy without it is not taken
    co_return std::unexpected(refusal(CloseReason::kInternalError, "no route with backend-tls"));
  connection.set_local(std::shared_ptr<const Route>(policy, route),
                       local_user(client.records->socket()));

  RefusalPtr refused = limit_connections_of_address(client);
  if (!refused) refused = limit_identity(client);
  if (refused) co_return std::unexpected(std::move(refused));

  auto backend = co_await connect_backend(client, {});
  if (backend) co_await move_to_table(*client.records, **backend);
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

std::expected<Choice, ktls::HandshakeResult> choose_route(const Client& client) {
  const Handshake& handshake = *client.handshake;
  const ktls::ClientHello& hello = handshake.tls->hello();
  const auto chosen = choose(*handshake.policy, hello.sni, hello.alpn);
  if (!chosen || !client.connection.listener().starttls_postgresql) return chosen;
  return confirm_postgresql(handshake, *chosen);
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
