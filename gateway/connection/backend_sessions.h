// Sessions with backends: kept for connections to come, and made of the tickets of those that are.
#pragma once

#include <chrono>
#include <memory>

#include "iouring/task.h"
#include "iouring/task_group.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/handshake/client_session.h"
#include "ktls/handshake/session_store.h"
#include "ktls/records/ticket_sink.h"

namespace sallyport::gateway {

struct ShardState;

/// Those of one shard; its thread only. What OpenSSL has to do for a ticket is the idle worker's.
class BackendSessions {
 public:
  /// Connections that keep OpenSSL's part for tickets at the same time, 40 to 60 KiB each. Others
  /// of TLS 1.3 take none.
  static constexpr unsigned kMostWaiting = 64;

  /// `shard` is the one that it is part of.
  explicit BackendSessions(ShardState& shard);

  /// For ClientTerms: the newest session of `scope`, as SessionStore::take() has it.
  [[nodiscard]] std::shared_ptr<const ktls::ClientSession> take(const ktls::Sha256& scope,
                                                                std::chrono::sys_seconds now) {
    return store_.take(scope, now);
  }

  /// Of a handshake at kDone and behind intern_trust(): what its server gives for resumption is
  /// kept as `scope`. For the tickets of TLS 1.3 that is by what comes back, which is for
  /// RecordLayer::collect_tickets() and may live for as long as the connection; null: there is
  /// nothing to wait for. `used` is the session that it was resumed by, and is freed with OpenSSL's
  /// part.
  [[nodiscard]] std::unique_ptr<ktls::TicketSink> collect(
      ktls::ClientHandshake& tls, const ktls::Sha256& scope,
      std::shared_ptr<const ktls::ClientSession> used);

  /// Connections that keep OpenSSL's part.
  [[nodiscard]] unsigned waiting() const noexcept { return waiting_; }

  /// Nothing is taken any more; ends when what was taken is done with. Before it is destroyed.
  [[nodiscard]] iouring::Task<void> stop();

 private:
  class Waiting;
  struct Collected;

  iouring::Task<void> make_sessions(std::unique_ptr<Collected> collected);

  ShardState& shard_;
  ktls::SessionStore store_;
  iouring::TaskGroup making_;
  unsigned waiting_ = 0;
  bool stopped_ = false;
};

}  // namespace sallyport::gateway
