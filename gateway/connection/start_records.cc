#include "gateway/connection/start_records.h"

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "gateway/connection/client.h"
#include "gateway/connection/record_choice.h"
#include "iouring/idle_worker.h"
#include "iouring/result.h"
#include "ktls/records/acknowledge.h"
#include "ktls/records/kernel_hand_off.h"
#include "ktls/records/kernel_tls_options.h"
#include "ktls/records/userspace_records.h"

namespace sallyport::gateway {
namespace {

// Tickets are some 30 µs of work, the end of OpenSSL's part 10.
iouring::Task<RefusalPtr> end_tls(Client& client) {
  Handshake& handshake = *client.handshake;
  ktls::ServerHandshake& tls = *handshake.tls;
  std::vector<std::byte> output;
  iouring::Result<> ran = co_await worker_for_step(client.connection.shard())
                              .run(iouring::Rank::kStarted, [&tls, &output] {
                                tls.issue_tickets();
                                output = tls.take_output();
                              });
  if (!ran) co_return interrupted(ran.error().value);
  handshake.end();
  if (output.empty()) {
    // The client's Finished: one with Nagle's algorithm keeps its first request until then.
    co_await ktls::acknowledge(handshake.socket);
    co_return nullptr;
  }
  // The handshake counts as none of those that wait any more, so a client that reads nothing must
  // not hold it for ever.
  const Timeouts& timeouts = client.connection.shard().timeouts;
  if (timeouts.handshake.count() == 0) handshake.deadline.arm(timeouts.tickets);
  // At once: a client may wait for the last flight of TLS 1.2, for an acknowledgement of its own
  // bytes that travels with a ticket, or for the ticket.
  iouring::Result<> sent = co_await handshake.socket.send_all(output);
  if (!sent && sent.error().value == ECANCELED) co_return interrupted(ECANCELED);
  // A client that has left already may have sent data before: the relay hears it out.
  co_return nullptr;
}

// The handshake is over and everything that it had to send is sent.
void start_userspace_records(Client& client) {
  const std::unique_ptr<Handshake> handshake = std::move(client.handshake);
  const ktls::Outcome outcome = handshake->tls->finish();
  client.records = ktls::userspace_records(std::move(handshake->socket), outcome.state,
                                           client.connection.shard().pools, outcome.leftover);
  client.connection.set_records(ktls::RecordModel::kUserspace);
}

RefusalPtr refused_by_kernel(const ktls::KernelRefusal& refused) {
  std::string detail = "kernel TLS: " + std::string(to_string(refused.reason));
  if (refused.sys_errno != 0) {
    detail += std::string(" (") + iouring::errno_name(refused.sys_errno) + ")";
  }
  CloseReason reason = CloseReason::kInternalError;
  if (refused.sys_errno == ENOTCONN) reason = CloseReason::kPeerConnectionClosed;
  return refusal(reason, std::move(detail));
}

metrics::Records label(ktls::RecordModel model) {
  return model == ktls::RecordModel::kKernel ? metrics::Records::kKernel
                                             : metrics::Records::kUserspace;
}

}  // namespace

void attach_kernel_tls(const ShardState& shard, const iouring::Socket& peer) noexcept {
  if (shard.records.wanted == RecordsWanted::kUserspace || !shard.records.kernel.usable()) return;
  [[maybe_unused]] const int reported_later = ktls::attach_kernel_tls(peer.descriptor());
}

RefusalPtr choose_records(ShardState& shard, std::unique_ptr<ktls::RecordLayer>& records,
                          ktls::Role own) {
  if (shard.records.wanted == RecordsWanted::kUserspace) return nullptr;
  auto handed = ktls::hand_to_kernel(records, shard.records.kernel, shard.pools, own);
  if (handed) {
    records = *std::move(handed);
    return nullptr;
  }
  const ktls::KernelRefusal refused = handed.error();
  // The peer has left. What it sent before is read here, whatever records are wanted.
  if (!refused.connection_lost && refused.sys_errno == ENOTCONN) return nullptr;
  if (refused.connection_lost || shard.records.wanted == RecordsWanted::kKernel) {
    return refused_by_kernel(refused);
  }
  shard.metrics.ktls_fallback(refused.reason);
  return nullptr;
}

[[gnu::noinline]] iouring::Task<RefusalPtr> start_records(Client& client) {
  RefusalPtr refused = co_await iouring::in_scope(client.handshake->scope, end_tls(client));
  if (refused) co_return refused;
  start_userspace_records(client);
  refused = choose_records(client.connection.shard(), client.records, ktls::Role::kServer);
  if (refused) co_return refused;
  client.connection.set_records(client.records->rx_model());
  co_return nullptr;
}

iouring::Task<void> start_records_for_refusal(Client& client) {
  Handshake& handshake = *client.handshake;
  ktls::ServerHandshake& tls = *handshake.tls;
  std::vector<std::byte> output;
  iouring::Result<> ran =
      co_await worker_for_step(client.connection.shard()).run(iouring::Rank::kStarted, [&] {
        output = tls.take_output();
      });
  if (!ran) co_return;
  handshake.end();
  if (!output.empty()) {
    iouring::Result<> sent = co_await handshake.socket.send_all(output);
    if (!sent) co_return;
  }
  start_userspace_records(client);
}

CountedRecords::CountedRecords(const Client& client, const ktls::RecordLayer& backend)
    : client_(client), backend_(backend) {
  opened(*client_.records);
  opened(backend_);
}

CountedRecords::~CountedRecords() {
  closed(*client_.records);
  closed(backend_);
}

void CountedRecords::opened(const ktls::RecordLayer& layer) const {
  if (layer.tx_model() == ktls::RecordModel::kPlain) return;
  metrics::ShardMetrics& cells = client_.connection.shard().metrics;
  cells.records_opened(metrics::Direction::kReceive, label(layer.rx_model()));
  cells.records_opened(metrics::Direction::kSend, label(layer.tx_model()));
}

void CountedRecords::closed(const ktls::RecordLayer& layer) const {
  if (layer.tx_model() == ktls::RecordModel::kPlain) return;
  metrics::ShardMetrics& cells = client_.connection.shard().metrics;
  cells.records_closed(metrics::Direction::kReceive, label(layer.rx_model()));
  cells.records_closed(metrics::Direction::kSend, label(layer.tx_model()));
  const ktls::RecordCounters& counters = layer.counters();
  for (auto i = counters.key_updates_received; i > 0; --i) {
    cells.keyupdate(metrics::Direction::kReceive);
  }
  for (auto i = counters.key_updates_sent; i > 0; --i) {
    cells.keyupdate(metrics::Direction::kSend);
  }
}

}  // namespace sallyport::gateway
