// From a handshake to records: the phase records.
#pragma once

#include <memory>

#include "gateway/connection/refusal.h"
#include "gateway/connection/shard_state.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// Before the handshake: attaches kernel TLS without keys where start_records() will want it, since
/// a client that has sent its FIN prevents that. Where it fails, start_records() reports why.
void attach_kernel_tls(const ShardState& shard, const iouring::Socket& client) noexcept;

/// Ends OpenSSL's part, with tickets for the client, and starts the records of an established
/// client: Client::records. They are handed over to the kernel, as the shard's RecordChoice wants
/// it. Where the kernel does not take the connection it goes on in userspace, counted in
/// ktls_fallback_total{reason}; with --records kernel it is refused.
///
/// It comes right after the handshake, before the backend is dialled: later the client may have
/// ended already, or be half-way through a message, and the kernel can take over neither.
[[nodiscard]] iouring::Task<RefusalPtr> start_records(Client& client);

/// The same in userspace and without tickets: for a client that gets its refusal as an alert.
/// Client::records stays null if it is gone.
[[nodiscard]] iouring::Task<void> start_records_for_refusal(Client& client);

/// Counts a TLS connection in records_connections from construction to destruction, and then its
/// KeyUpdates.
class CountedRecords {
 public:
  /// `client` and Client::records, which is not null, outlive the object.
  explicit CountedRecords(const Client& client);
  ~CountedRecords();
  CountedRecords(const CountedRecords&) = delete;
  CountedRecords& operator=(const CountedRecords&) = delete;

 private:
  [[nodiscard]] metrics::ShardMetrics& cells() const;

  const Client& client_;  // one pointer only, since it is kept while a connection is idle
};

}  // namespace sallyport::gateway
