#include "gateway/connection/relay.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "gateway/connection/lingering_close.h"
#include "gateway/connection/live_connection.h"
#include "iouring/both.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using ktls::Received;
using ktls::RecordFailure;

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

// What both directions share. Lives in the frame of relay().
struct RelayState {
  LiveConnection& connection;
  ktls::RecordLayer& client;
  ktls::RecordLayer& backend;
  iouring::CancelScope scope;
  RelayTimers timers;
  std::unique_ptr<Received>& early;  // what the client sent before the relay began, until passed on
  std::optional<CloseReason> reason;  // the first one that is no clean end
  bool client_ended = false;          // close_notify received
  bool backend_ended = false;         // FIN received
  bool backend_send_failed = false;   // sending to it failed

  RelayState(Client& its_client, ktls::RecordLayer& its_backend)
      : connection(its_client.connection),
        client(*its_client.records),
        backend(its_backend),
        scope(&its_client.connection.scope()),
        timers(its_client.connection, scope),
        early(its_client.early) {}

  void stop(CloseReason why) {
    if (!reason) reason = why;
    scope.cancel();
  }
};

CloseReason reason_of(const ktls::RecordError& error, CloseReason reset) {
  switch (error.failure) {
    case RecordFailure::kReset:
    case RecordFailure::kPipe:
    case RecordFailure::kSocket:
      return reset;
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

bool cancelled(const ktls::RecordError& error) {
  return error.failure == RecordFailure::kCancelled;
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
      ktls::RecordLayer::SendResult sent = co_await state.backend.send(std::move(received));
      if (!sent) {
        if (cancelled(sent.error())) co_return false;
        // It takes no more, but may have sent a reason: the other direction receives that, and the
        // end.
        state.backend_send_failed = true;
        if (state.backend_ended) state.stop(CloseReason::kBackendClosed);
        state.timers.half_closed();
        co_return false;
      }
      state.connection.count_sent(metrics::Leg::kBackend, bytes);
      state.timers.touch();
      co_return true;
    }
    case Received::Kind::kTruncated:
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
      if (!cancelled(received.error)) {
        state.stop(reason_of(received.error, state.backend_ended ? CloseReason::kBackendClosed
                                                                 : CloseReason::kClientReset));
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
      state.timers.touch();
      ktls::RecordLayer::SendResult sent = co_await state.client.send(std::move(received));
      if (!sent) {
        if (cancelled(sent.error())) co_return false;
        state.stop(reason_of(sent.error(), state.client_ended ? CloseReason::kClientClosed
                                                              : CloseReason::kClientReset));
        co_return false;
      }
      state.connection.count_sent(metrics::Leg::kClient, bytes);
      state.timers.touch();
      co_return true;
    }
    case Received::Kind::kTruncated:
    case Received::Kind::kEndOfStream:
    case Received::Kind::kCloseNotify: {
      state.backend_ended = true;
      state.timers.half_closed();
      ktls::RecordLayer::SendResult sent = co_await state.client.send_close();
      if (!sent && !cancelled(sent.error())) {
        // A client that has ended and taken every byte need not wait for our close_notify.
        if (!state.client_ended) state.stop(reason_of(sent.error(), CloseReason::kClientReset));
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

// Waits until the peer has taken everything or is gone, at most the half-close timeout: a reset
// throws away what the kernel has not sent yet, and the peer may be slower than the sender.
iouring::Task<void> until_taken(LiveConnection& connection, iouring::Socket& peer) {
  iouring::Ring& ring = connection.shard().ring;
  const auto most = connection.shard().timeouts.half_close;
  const iouring::TimePoint give_up =
      most.count() > 0 ? ring.now() + most : iouring::TimePoint::max();
  iouring::Result<iouring::FileDescriptor> descriptor = co_await peer.install();
  if (!descriptor) co_return;
  for (auto pause = std::chrono::milliseconds(1); ring.now() < give_up;
       pause = std::min(2 * pause, std::chrono::milliseconds(50))) {
    int unsent = 0;
    pollfd gone{.fd = descriptor->get(), .events = 0, .revents = 0};
    if (::ioctl(descriptor->get(), SIOCOUTQ, &unsent) != 0 || unsent == 0) co_return;
    if (::poll(&gone, 1, 0) != 0) co_return;
    iouring::Result<> slept = co_await iouring::sleep_for(ring, pause);
    if (!slept) co_return;
  }
}

CloseReason verdict(const RelayState& state) {
  if (const auto ended = state.connection.ended_by()) return *ended;
  if (state.reason) return *state.reason;
  if (const auto ran_out = state.timers.ran_out()) return *ran_out;
  return CloseReason::kDone;
}

// What each side is left with. Not inlined: its frame is not needed before the end.
[[gnu::noinline]] iouring::Task<void> leave(RelayState& state, CloseReason reason) {
  LiveConnection& connection = state.connection;
  ktls::RecordLayer& client = state.client;
  ktls::RecordLayer& backend = state.backend;
  if (reason == CloseReason::kClientTruncated) {
    co_await iouring::in_scope(connection.scope(), until_taken(connection, backend.socket()));
  }
  // No clean end for a backend whose client gave none.
  if (reason != CloseReason::kDone && !(state.client_ended && state.backend_ended)) {
    backend.socket().reset();
  }
  const std::optional<CloseReason::End> end = reason.end();
  if (!end) {  // a drain
    co_await close_with_close_notify(connection.shard(), client);
    co_return;
  }
  switch (*end) {
    case CloseReason::kDone:
    case CloseReason::kClientClosed:
    case CloseReason::kClientTruncated:
    case CloseReason::kClientReset:
      break;
    case CloseReason::kBackendReset:
      co_await iouring::in_scope(connection.scope(), until_taken(connection, client.socket()));
      client.socket().reset();
      break;
    case CloseReason::kBackendClosed:
    case CloseReason::kRecordError:
    case CloseReason::kKeyupdateFlood:
    case CloseReason::kKeyupdateUnsupported:
      co_await linger(connection.shard(), client.socket());
      break;
    default:
      co_await close_with_close_notify(connection.shard(), client);
      break;
  }
}

}  // namespace

iouring::Task<CloseReason> relay(Client& client, ktls::RecordLayer& backend) {
  RelayState state(client, backend);
  co_await iouring::in_scope(state.scope, both_ways(state));
  const CloseReason reason = verdict(state);
  co_await leave(state, reason);
  co_return reason;
}

}  // namespace sallyport::gateway
