// What the two directions of a relay, and what runs beside them, share.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "gateway/connection/client.h"
#include "gateway/connection/close_reason.h"
#include "gateway/connection/live_connection.h"
#include "iouring/deadline.h"
#include "iouring/task_group.h"
#include "ktls/records/received.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// One deadline for silence and lifetime: whichever comes first is armed.
class RelayTimers {
 public:
  RelayTimers(LiveConnection& connection, iouring::CancelScope& scope)
      : shard_(connection.shard()), deadline_(shard_.ring, scope) {
    if (shard_.timeouts.lifetime.count() > 0) {
      // Jitter: clients that connected together must not reconnect together.
      std::uniform_real_distribution<double> shorter(0.9, 1.0);
      lifetime_ends_ = shard_.ring.now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               shard_.timeouts.lifetime * shorter(shard_.random));
    }
    touch();
  }

  void touch() {
    const Timeouts& timeouts = shard_.timeouts;
    const auto once_closed = client_gone_ ? timeouts.longest_linger() : timeouts.half_close;
    const auto silence = half_closed_ && once_closed.count() > 0 ? once_closed : timeouts.idle;
    if (deadline_.expired()) return;
    if (silence.count() > 0) {
      deadline_.arm_at(std::min(lifetime_ends_, shard_.ring.now() + silence));
    } else if (lifetime_ends_ != iouring::TimePoint::max()) {
      deadline_.arm_at(lifetime_ends_);
    } else {
      deadline_.disarm();
    }
  }

  void half_closed() {
    half_closed_ = true;
    touch();
  }
  void client_gone() {
    client_gone_ = true;
    half_closed();
  }
  [[nodiscard]] bool is_half_closed() const { return half_closed_; }

  /// From here to its end the lifetime looks for a quiet moment.
  [[nodiscard]] bool lifetime_is_ending() const {
    return lifetime_ends_ != iouring::TimePoint::max() &&
           shard_.ring.now() >= lifetime_ends_ - shard_.timeouts.lifetime / 20;
  }

  [[nodiscard]] std::optional<CloseReason> ran_out() const {
    if (!deadline_.expired()) return std::nullopt;
    if (shard_.ring.now() >= lifetime_ends_) return CloseReason::kLifetime;
    return half_closed_ && shard_.timeouts.half_close.count() > 0 ? CloseReason::kHalfCloseTimeout
                                                                  : CloseReason::kIdleTimeout;
  }

 private:
  ShardState& shard_;
  iouring::Deadline deadline_;
  iouring::TimePoint lifetime_ends_ = iouring::TimePoint::max();
  bool half_closed_ = false;
  bool client_gone_ = false;
};

/// Lives in the frame of relay().
struct RelayState {
  LiveConnection& connection;
  ktls::RecordLayer& client;
  ktls::RecordLayer& backend;
  iouring::CancelScope scope;
  RelayTimers timers;
  std::unique_ptr<ktls::Received>& early;      ///< Client::early, until it is passed on
  std::optional<CloseReason> reason;           ///< the first one that is no clean end
  std::optional<CloseReason> ends_when_quiet;  ///< it was asked to, for this
  bool client_ended : 1 = false;               ///< close_notify received
  bool client_left : 1 = false;                ///< it takes nothing more
  bool client_took_late : 1 = false;     ///< a send to it was still waiting when the relay stopped
  bool client_heard_out : 1 = false;     ///< everything that it sent was passed on
  bool backend_ended : 1 = false;        ///< FIN received
  bool backend_answered : 1 = false;     ///< since the last byte that it was sent
  bool backend_send_failed : 1 = false;  ///< sending to it failed
  bool backend_broken : 1 = false;       ///< since it reset, or vanished: it gives no clean end
  bool looks_for_quiet : 1 = false;      ///< a task beside the pumps does
  bool quiet : 1 = false;                ///< and this is the moment
  bool looks : 1 = false;                ///< rounds look at it: something may be unacknowledged
  bool client_owed : 1 = false;          ///< an acknowledgement, in the last round
  bool backend_owed : 1 = false;
  std::unique_ptr<iouring::TaskGroup> beside;  ///< what end_when_quiet() and look_at() run

  RelayState(Client& its_client, ktls::RecordLayer& its_backend)
      : connection(its_client.connection),
        client(*its_client.records),
        backend(its_backend),
        scope(&its_client.connection.scope()),
        timers(its_client.connection, scope),
        early(its_client.early) {
    connection.set_relay(this);
  }
  RelayState(const RelayState&) = delete;
  RelayState& operator=(const RelayState&) = delete;

  void run_beside(iouring::Task<void> task) {
    if (!beside) beside = std::make_unique<iouring::TaskGroup>(connection.shard().ring);
    beside->spawn(std::move(task));
  }

  void stop(CloseReason why) {
    if (!reason) reason = why;
    scope.cancel();
  }

  /// Nothing more reaches the client. What it sent before still goes to the backend: its socket
  /// gives that, and then the end, also behind a reset.
  void client_leaves() {
    client_left = true;
    timers.client_gone();
    if (client_heard_out) stop(reason_of_leaving());
  }

  /// Of a client that takes nothing more.
  [[nodiscard]] CloseReason reason_of_leaving() const {
    return client_ended ? CloseReason::kClientClosed : CloseReason::kClientReset;
  }
};

}  // namespace sallyport::gateway
