#include "gateway/connection/relay.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/connection/lingering_close.h"
#include "gateway/connection/live_connection.h"
#include "gateway/connection/peer_state.h"
#include "iouring/both.h"
#include "iouring/deadline.h"
#include "iouring/task_group.h"

namespace sallyport::gateway {

using ktls::Received;
using ktls::RecordFailure;

namespace {

// One deadline for silence and lifetime: whichever comes first is armed.
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
    const auto silence =
        half_closed_ && timeouts.half_close.count() > 0 ? timeouts.half_close : timeouts.idle;
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
};

}  // namespace

// What both directions share. Lives in the frame of relay().
struct RelayState {
  LiveConnection& connection;
  ktls::RecordLayer& client;
  ktls::RecordLayer& backend;
  iouring::CancelScope scope;
  RelayTimers timers;
  std::unique_ptr<Received>& early;  // what the client sent before the relay began, until passed on
  std::optional<CloseReason> reason;     // the first one that is no clean end
  bool client_ended : 1 = false;         // close_notify received
  bool client_left : 1 = false;          // it takes nothing more
  bool client_took_late : 1 = false;     // a send to it was still waiting when the relay stopped
  bool client_heard_out : 1 = false;     // everything that it sent was passed on
  bool backend_ended : 1 = false;        // FIN received
  bool backend_answered : 1 = false;     // since the last byte that it was sent
  bool backend_send_failed : 1 = false;  // sending to it failed
  bool ends_when_quiet : 1 = false;      // it was asked to
  bool quiet : 1 = false;                // and this is the moment
  bool looks : 1 = false;                // rounds look at it: something may be unacknowledged
  bool client_owed : 1 = false;          // an acknowledgement, in the last round
  bool backend_owed : 1 = false;
  std::unique_ptr<iouring::TaskGroup> beside;  // of end_when_quiet() and look_at(), while they run

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
};

namespace {

// Nothing where the peer is gone or its socket failed.
std::optional<CloseReason> fault_of(const ktls::RecordError& error) {
  switch (error.failure) {
    case RecordFailure::kReset:
    case RecordFailure::kPipe:
    case RecordFailure::kSocket:
      return std::nullopt;
    case RecordFailure::kKeyUpdateFlood:
      return CloseReason::kKeyupdateFlood;
    case RecordFailure::kKeyUpdateUnsupported:
      return CloseReason::kKeyupdateUnsupported;
    case RecordFailure::kInternal:
      return CloseReason::kInternalError;
    default:
      return CloseReason::kRecordError;
  }
}

CloseReason reason_of(const ktls::RecordError& error, CloseReason gone) {
  return fault_of(error).value_or(gone);
}

bool cancelled(const ktls::RecordError& error) {
  return error.failure == RecordFailure::kCancelled;
}

CloseReason reason_of_leaving(const RelayState& state) {
  return state.client_ended ? CloseReason::kClientClosed : CloseReason::kClientReset;
}

// Nothing more reaches the client. What it sent before still goes to the backend: its socket gives
// that, and then the end, also behind a reset.
void client_leaves(RelayState& state) {
  state.client_left = true;
  state.timers.half_closed();
  if (state.client_heard_out) state.stop(reason_of_leaving(state));
}

// Passes what the client sent to the backend. False: it was the last.
//
// An idle connection waits in the two pumps, for an arrival. What deals with one, from taking it to
// passing it on, is one coroutine of its own, not inlined, so that its frame is there only
// meanwhile: the compiler makes the frame of an inlined coroutine a part of its caller's.
[[gnu::noinline]] iouring::Task<bool> pass_to_backend(RelayState& state,
                                                      iouring::Task<Received> receiving) {
  Received received = co_await std::move(receiving);
  switch (received.kind) {
    case Received::Kind::kData: {
      const std::size_t bytes = received.size();
      if (bytes == 0) co_return true;
      state.connection.count_received(metrics::Leg::kClient, bytes);
      state.timers.touch();
      state.backend_answered = false;
      ktls::RecordLayer::SendResult sent = co_await state.backend.send(std::move(received));
      if (!sent) {
        if (cancelled(sent.error())) co_return false;
        // It takes no more, but may have sent a reason: the other direction receives that, and the
        // end.
        state.backend_send_failed = true;
        if (state.backend_ended && !state.client_left) state.stop(CloseReason::kBackendClosed);
        state.timers.half_closed();
        co_return false;
      }
      state.backend_answered = false;
      state.connection.count_sent(metrics::Leg::kBackend, bytes);
      state.timers.touch();
      co_return true;
    }
    case Received::Kind::kTruncated:
      if (state.client_left) co_return false;
      if (state.backend_ended) {
        // It had our close_notify and left. What it sent may still be cut short.
        state.stop(CloseReason::kBackendClosed);
        co_return false;
      }
      if (state.connection.route().truncation == Truncation::kReset) {
        state.stop(CloseReason::kClientTruncated);
        co_return false;
      }
      [[fallthrough]];
    case Received::Kind::kEndOfStream:
    case Received::Kind::kCloseNotify: {
      state.client_ended = true;
      state.timers.half_closed();
      ktls::RecordLayer::SendResult sent = co_await state.backend.send_close();
      if (!sent && !cancelled(sent.error()) && !state.backend_ended) {
        state.stop(CloseReason::kBackendReset);
      }
      co_return false;
    }
    case Received::Kind::kFailed:
      if (cancelled(received.error)) co_return false;
      if (const auto fault = fault_of(received.error)) {
        state.stop(*fault);
      } else if (!state.client_left) {
        state.stop(state.backend_ended ? CloseReason::kBackendClosed : CloseReason::kClientReset);
      }
      co_return false;
  }
  co_return false;
}

// Passes what the backend sent to the client. False: it was the last.
[[gnu::noinline]] iouring::Task<bool> pass_to_client(RelayState& state,
                                                     iouring::Task<Received> receiving) {
  Received received = co_await std::move(receiving);
  switch (received.kind) {
    case Received::Kind::kData: {
      const std::size_t bytes = received.size();
      if (bytes == 0) co_return true;
      state.connection.count_received(metrics::Leg::kBackend, bytes);
      state.backend_answered = true;
      if (state.client_left) co_return true;
      state.timers.touch();
      ktls::RecordLayer::SendResult sent = co_await state.client.send(std::move(received));
      if (!sent) {
        if (cancelled(sent.error())) {
          state.client_took_late = true;
          co_return false;
        }
        if (const auto fault = fault_of(sent.error())) {
          state.stop(*fault);
          co_return false;
        }
        client_leaves(state);
        co_return true;
      }
      state.connection.count_sent(metrics::Leg::kClient, bytes);
      state.timers.touch();
      co_return true;
    }
    case Received::Kind::kTruncated:
      state.stop(CloseReason::kBackendClosed);
      co_return false;
    case Received::Kind::kEndOfStream:
    case Received::Kind::kCloseNotify: {
      state.backend_ended = true;
      state.timers.half_closed();
      if (state.client_left) co_return false;
      ktls::RecordLayer::SendResult sent = co_await state.client.send_close();
      if (!sent && !cancelled(sent.error())) {
        // A client that has ended and taken every byte need not wait for our close_notify.
        if (!state.client_ended) client_leaves(state);
      } else if (state.backend_send_failed) {
        state.stop(CloseReason::kBackendClosed);
      }
      co_return false;
    }
    case Received::Kind::kFailed:
      if (!cancelled(received.error)) {
        state.stop(reason_of(received.error, CloseReason::kBackendReset));
      }
      co_return false;
  }
  co_return false;
}

iouring::Task<Received> receive_early(RelayState& state) {
  const std::unique_ptr<Received> early = std::move(state.early);
  co_return std::move(*early);
}

iouring::Task<void> pump_to_backend(RelayState& state) {
  bool goes_on = true;
  if (state.early) goes_on = co_await pass_to_backend(state, receive_early(state));
  while (goes_on) {
    ktls::Arrival arrival = state.client.arrival();
    co_await arrival;
    goes_on = co_await pass_to_backend(state, state.client.take(arrival));
  }
  state.client_heard_out = true;
  if (state.client_left) state.stop(reason_of_leaving(state));
}

iouring::Task<void> pump_to_client(RelayState& state) {
  bool goes_on = true;
  while (goes_on) {
    ktls::Arrival arrival = state.backend.arrival();
    co_await arrival;
    goes_on = co_await pass_to_client(state, state.backend.take(arrival));
  }
}

iouring::Task<void> both_ways(RelayState& state) {
  co_await iouring::both(pump_to_backend(state), pump_to_client(state));
}

CloseReason verdict(const RelayState& state) {
  if (const auto ended = state.connection.ended_by()) return *ended;
  if (state.reason) return *state.reason;
  if (state.client_left) return reason_of_leaving(state);
  if (const auto ran_out = state.timers.ran_out()) return *ran_out;
  return CloseReason::kDone;
}

bool left_by_client(CloseReason reason) {
  return reason == CloseReason::kClientClosed || reason == CloseReason::kClientTruncated ||
         reason == CloseReason::kClientReset;
}

// Whether the backend may still have to read what the client sent before it left. It had time where
// that vanished.
bool lingers(const RelayState& state, CloseReason reason) {
  return left_by_client(reason) && !state.client_owed && state.connection.received_bytes() > 0 &&
         !state.backend_ended && !state.backend_send_failed && !state.timers.ran_out();
}

// What each side is left with. Not inlined: its frame is not needed before the end.
[[gnu::noinline]] iouring::Task<void> leave(RelayState& state, CloseReason reason) {
  LiveConnection& connection = state.connection;
  ktls::RecordLayer& client = state.client;
  // No clean end for a backend whose client gave none.
  if (reason != CloseReason::kDone && !(state.client_ended && state.backend_ended)) {
    state.backend.socket().reset();
  }
  if (reason == CloseReason::kDrain || reason == CloseReason::kLifetime) {
    co_await (state.quiet ? close_with_close_notify(connection.shard(), client)
                          : close_with_fin(connection.shard(), client));
    co_return;
  }
  if (reason == CloseReason::kBackendReset) {
    co_await iouring::in_scope(connection.scope(), until_acknowledged(connection, client.socket()));
    client.socket().reset();
    co_return;
  }
  if (state.client_owed) client.socket().reset();
  if (reason == CloseReason::kDone || left_by_client(reason)) co_return;
  co_await close_with_fin(connection.shard(), client);
}

// Nothing moved for a while, no answer is due, and everything arrived.
iouring::Task<bool> is_quiet(RelayState& state) {
  const bool asked = state.connection.received_bytes() > 0 && !state.backend_answered;
  if (asked || state.client_ended || state.backend_ended || state.client_took_late) co_return false;
  if (!state.client.unopened().empty()) co_return false;
  // What is relayed moves on the client's leg.
  const std::optional<PeerState> client = co_await peer_state(state.client.socket());
  if (!client || !client->acknowledged) co_return false;
  if (client->still_for < state.connection.shard().timeouts.still) co_return false;
  const std::optional<PeerState> backend = co_await peer_state(state.backend.socket());
  co_return backend && backend->acknowledged;
}

iouring::Task<void> find_quiet(RelayState& state) {
  state.quiet = co_await is_quiet(state);
}

iouring::Task<void> end_at_quiet_moment(RelayState& state, CloseReason reason) {
  for (;;) {
    co_await find_quiet(state);
    if (state.quiet) {
      state.stop(reason);
      co_return;
    }
    iouring::Result<> slept = co_await iouring::sleep_for(state.connection.shard().ring,
                                                          state.connection.shard().timeouts.still);
    if (!slept) co_return;
  }
}

unsigned bit(metrics::Leg leg) {
  return 1U << static_cast<unsigned>(leg);
}

bool owes(const std::optional<PeerState>& peer, std::chrono::milliseconds time) {
  return peer && peer->owes_for && *peer->owes_for >= time;
}

iouring::Task<void> look_at_peers(RelayState& state) {
  const std::optional<PeerState> client = co_await peer_state(state.client.socket());
  const std::optional<PeerState> backend = co_await peer_state(state.backend.socket());
  const auto time = state.connection.shard().timeouts.owes;
  const bool client_owes = owes(client, time);
  const bool backend_owes = owes(backend, time);
  if (client_owes && state.client_owed) state.stop(CloseReason::kClientReset);
  if (backend_owes && state.backend_owed) state.stop(CloseReason::kBackendReset);
  state.client_owed = client_owes;
  state.backend_owed = backend_owes;
  state.looks = !client || !backend || !client->acknowledged || !backend->acknowledged;
}

// Everything behind the pumps. Not inlined: its frame is not needed before the end.
[[gnu::noinline]] iouring::Task<RelayEnd> end_relay(RelayState& state) {
  state.connection.set_relay(nullptr);  // nothing more is run beside it
  if (state.beside) {
    state.beside->cancel_all();
    co_await state.beside->join();
  }
  const CloseReason reason = verdict(state);
  if (lingers(state, reason)) {
    co_return RelayEnd{.reason = reason,
                       .lingers = BackendLeft{.fin_sent = state.client_ended,
                                              .answered = state.backend_answered,
                                              .behind = state.client_took_late}};
  }
  const bool may_be_quiet = reason == CloseReason::kDrain || reason == CloseReason::kLifetime;
  if (may_be_quiet && !state.quiet) {
    co_await within_lingering_time(state.connection.shard(), find_quiet(state));
  }
  co_await leave(state, reason);
  co_return RelayEnd{.reason = reason};
}

}  // namespace

void end_when_quiet(LiveConnection& connection, CloseReason reason) {
  RelayState* const state = connection.relay();
  if (state == nullptr || state->ends_when_quiet) return;
  state->ends_when_quiet = true;
  state->run_beside(end_at_quiet_moment(*state, reason));
}

void look_at(LiveConnection& connection) {
  RelayState* const state = connection.relay();
  if (state == nullptr) return;
  if (state->timers.lifetime_is_ending()) end_when_quiet(connection, CloseReason::kLifetime);
  if (state->beside && state->beside->size() == 0) state->beside.reset();
  const unsigned heard = connection.take_heard();
  const unsigned both = bit(metrics::Leg::kClient) | bit(metrics::Leg::kBackend);
  if (heard != 0) state->looks = true;
  if (heard == both) state->client_owed = state->backend_owed = false;
  if (!state->looks || heard == both) return;
  state->run_beside(look_at_peers(*state));
}

iouring::Task<RelayEnd> relay(Client& client, ktls::RecordLayer& backend) {
  RelayState state(client, backend);
  co_await iouring::in_scope(state.scope, both_ways(state));
  const RelayEnd end = co_await end_relay(state);
  co_return end;
}

}  // namespace sallyport::gateway
