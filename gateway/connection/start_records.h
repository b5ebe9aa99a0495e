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

/// Before the handshake: attaches kernel TLS without keys where choose_records() will want it,
/// since a peer that has sent its FIN prevents that. Where it fails, choose_records() reports why.
void attach_kernel_tls(const ShardState& shard, const iouring::Socket& peer) noexcept;

/// Hands `records`, of userspace_records() and at rest, over to the kernel, as the shard's
/// RecordChoice wants it. Where the kernel does not take them they go on in userspace, counted in
/// ktls_fallback_total{reason}; with --records kernel that is a refusal. `own`: which end we are.
[[nodiscard]] RefusalPtr choose_records(ShardState& shard,
                                        std::unique_ptr<ktls::RecordLayer>& records,
                                        ktls::Role own);

/// Ends OpenSSL's part, with tickets for the client, and starts the records of an established
/// client, by choose_records(): Client::records.
///
/// It comes right after the handshake, before the backend is dialled: later the client may have
/// ended already, or be half-way through a message, and the kernel can take over neither.
[[nodiscard]] iouring::Task<RefusalPtr> start_records(Client& client);

/// The same in userspace and without tickets: for a client that gets its refusal as an alert.
/// Client::records stays null if it is gone.
[[nodiscard]] iouring::Task<void> start_records_for_refusal(Client& client);

/// Counts the TLS connections of both legs in records_connections from construction to destruction,
/// and then their KeyUpdates.
class CountedRecords {
 public:
  /// `client`, Client::records, which is not null, and `backend` outlive the object.
  CountedRecords(const Client& client, const ktls::RecordLayer& backend);
  ~CountedRecords();
  CountedRecords(const CountedRecords&) = delete;
  CountedRecords& operator=(const CountedRecords&) = delete;

 private:
  void opened(const ktls::RecordLayer& layer) const;
  void closed(const ktls::RecordLayer& layer) const;

  // Little, since it is kept while a connection is idle.
  const Client& client_;
  const ktls::RecordLayer& backend_;
};

}  // namespace sallyport::gateway
