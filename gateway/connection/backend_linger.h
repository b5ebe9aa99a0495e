// The backend's side outlives a client that left, until the backend has dealt with what that sent.
#pragma once

#include "gateway/connection/live_connection.h"
#include "gateway/connection/relay.h"
#include "iouring/cancel.h"
#include "iouring/list.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"
#include "metrics/cells.h"

namespace sallyport::gateway {

/// A connection that lingers, in its shard's list of these: it gives up its place when
/// --max-connections is reached.
class LingeringConnection : public iouring::ListNode {
 public:
  LingeringConnection(LiveConnection& connection, iouring::CancelScope& scope);
  ~LingeringConnection();

  /// Its place is taken: it ends at once.
  void end() noexcept;

 private:
  ConnectionLimit& limit_;
  iouring::CancelScope& scope_;
  metrics::LingeringConnection counted_;
  bool ended_for_another_ = false;
};

/// Keeps the backend's side open, reads what it sends and drops it, and then closes it, by a
/// reset unless both sides ended cleanly: a reset, or a close with something unread, would make the
/// backend's kernel drop what the backend has not read. Ends
///   - when the backend has ended or is gone;
///   - when everything is acknowledged, and the backend has answered after the last byte and then
///     been silent for Timeouts::answered, or nothing came for Timeouts::unanswered. Not where the
///     client ended cleanly: then the backend has our FIN, and ends by itself;
///   - after Timeouts::longest_linger();
///   - when the connection is ended, or its place is needed.
/// The client's side should be freed before: what is held here is the frames and one record layer.
iouring::Task<void> linger_for_backend(LiveConnection& connection, ktls::RecordLayer& backend,
                                       BackendLeft left);

/// Ends as many of the shard's lingering connections as --max-connections needs, oldest first.
void end_lingering(ShardState& shard) noexcept;

}  // namespace sallyport::gateway
