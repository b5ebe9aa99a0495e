#include "gateway/connection/hand_off.h"

#include <cerrno>
#include <string>
#include <utility>

#include "gateway/connection/record_choice.h"
#include "iouring/result.h"
#include "ktls/records/kernel_records.h"

namespace sallyport::gateway {
namespace {

Refusal refusal_of(const ktls::KernelRefusal& refused) {
  Refusal refusal{.reason = refused.sys_errno == ENOTCONN ? CloseReason::kPeerConnectionClosed
                                                          : CloseReason::kInternalError,
                  .failure = {}};
  refusal.failure.detail = "kernel TLS: " + std::string(to_string(refused.reason));
  if (refused.sys_errno != 0) {
    refusal.failure.detail += std::string(" (") + iouring::errno_name(refused.sys_errno) + ")";
  }
  return refusal;
}

metrics::Records label(ktls::RecordModel model) {
  return model == ktls::RecordModel::kKernel ? metrics::Records::kKernel
                                             : metrics::Records::kUserspace;
}

}  // namespace

void prepare_hand_off(const ShardState& shard, const iouring::Socket& client) noexcept {
  if (shard.records.wanted == RecordsWanted::kUserspace || !shard.records.kernel.usable()) return;
  [[maybe_unused]] const int reported_later = ktls::attach_kernel_tls(client.descriptor());
}

std::expected<void, Refusal> hand_off(Connection& connection,
                                      std::unique_ptr<ktls::RecordLayer>& client) {
  ShardState& shard = connection.shard();
  if (shard.records.wanted == RecordsWanted::kUserspace) return {};
  auto handed = ktls::hand_to_kernel(client, shard.records.kernel, shard.pools);
  if (handed) {
    client = *std::move(handed);
    connection.records_are_made_by(ktls::RecordModel::kKernel);
    return {};
  }
  const ktls::KernelRefusal refused = handed.error();
  if (refused.connection_lost || shard.records.wanted == RecordsWanted::kKernel) {
    return std::unexpected(refusal_of(refused));
  }
  shard.metrics.ktls_fallback(refused.reason);
  return {};
}

CountedRecords::CountedRecords(metrics::ShardMetrics& metrics, const ktls::RecordLayer& layer)
    : metrics_(metrics), layer_(layer) {
  metrics_.records_opened(metrics::Direction::kReceive, label(layer_.rx_model()));
  metrics_.records_opened(metrics::Direction::kSend, label(layer_.tx_model()));
}

CountedRecords::~CountedRecords() {
  metrics_.records_closed(metrics::Direction::kReceive, label(layer_.rx_model()));
  metrics_.records_closed(metrics::Direction::kSend, label(layer_.tx_model()));
  const ktls::RecordCounters& counters = layer_.counters();
  for (auto i = counters.key_updates_received; i > 0; --i) {
    metrics_.keyupdate(metrics::Direction::kReceive);
  }
  for (auto i = counters.key_updates_sent; i > 0; --i) {
    metrics_.keyupdate(metrics::Direction::kSend);
  }
}

}  // namespace sallyport::gateway
