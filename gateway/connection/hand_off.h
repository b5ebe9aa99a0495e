// From a handshake to records: who makes those of a connection.
#pragma once

#include <expected>
#include <memory>

#include "gateway/connection/connection.h"
#include "iouring/socket.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// Before the handshake: what hand_off() needs and a client that is quick to close would prevent.
/// Where it fails, hand_off() will say why.
void prepare_hand_off(const ShardState& shard, const iouring::Socket& client) noexcept;

/// Hands the client's records over to the kernel, as the shard's RecordChoice wants it. Where the
/// kernel does not take the connection it goes on in userspace, counted in
/// ktls_fallback_total{reason}; with --records kernel it is refused. `client` is null after a
/// refusal if nothing can be said to the client any more.
///
/// `client` is a layer of userspace_records() that nothing was received from or sent to, and whose
/// socket still has a descriptor: right after the handshake. Later the client may have ended
/// already, or be half-way through a message, and the kernel can take over neither.
[[nodiscard]] std::expected<void, Refusal> hand_off(Connection& connection,
                                                    std::unique_ptr<ktls::RecordLayer>& client);

/// Counts a TLS connection in records_connections while it lives, and its KeyUpdates when it ends.
class CountedRecords {
 public:
  /// Both outlive it.
  CountedRecords(metrics::ShardMetrics& metrics, const ktls::RecordLayer& layer);
  ~CountedRecords();
  CountedRecords(const CountedRecords&) = delete;
  CountedRecords& operator=(const CountedRecords&) = delete;

 private:
  metrics::ShardMetrics& metrics_;
  const ktls::RecordLayer& layer_;
};

}  // namespace sallyport::gateway
