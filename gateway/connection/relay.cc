#include "gateway/connection/relay.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "gateway/connection/relay_end.h"
#include "gateway/connection/relay_state.h"
#include "iouring/both.h"

namespace sallyport::gateway {

using ktls::Received;
using ktls::RecordFailure;

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

// Of a leg to a backend.
CloseReason reason_of_backend(const ktls::RecordError& error) {
  if (error.failure == RecordFailure::kAlertReceived) return CloseReason::kBackendAlert;
  const CloseReason fault = fault_of(error).value_or(CloseReason::kBackendReset);
  if (fault == CloseReason::kRecordError) return CloseReason::kBackendRecordError;
  if (fault == CloseReason::kKeyupdateFlood) return CloseReason::kBackendKeyupdateFlood;
  if (fault == CloseReason::kKeyupdateUnsupported) return CloseReason::kBackendKeyupdateUnsupported;
  return fault;
}

bool cancelled(const ktls::RecordError& error) {
  return error.failure == RecordFailure::kCancelled;
}

bool is_end(const Received& received) {
  if (received.kind == Received::Kind::kFailed) return !cancelled(received.error);
  return received.kind != Received::Kind::kData;
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
      if (state.reason) co_return false;  // nothing more of a client that may not be here
      state.connection.count_received(metrics::Leg::kClient, bytes);
      state.timers.touch();
      state.backend_answered = false;
      ktls::RecordLayer::SendResult sent = co_await state.backend.send(std::move(received));
      if (!sent) {
        if (cancelled(sent.error())) co_return false;
        if (fault_of(sent.error())) {
          state.stop(reason_of_backend(sent.error()));
          co_return false;
        }
        // It takes no more, but may have sent a reason: the other direction receives that, and the
        // end. EPIPE is behind a FIN. Any other error was the socket's, which this send has taken
        // from it: what is received then ends as if a FIN had come.
        state.backend_send_failed = true;
        state.backend_broken = sent.error().failure != RecordFailure::kPipe;
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
  if (is_end(received) && !state.client_ended) state.connection.backend_ended_first();
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
        state.client_leaves();
        co_return true;
      }
      state.connection.count_sent(metrics::Leg::kClient, bytes);
      state.timers.touch();
      co_return true;
    }
    case Received::Kind::kTruncated:
      // No clean end for a client, whatever `truncation` of its route says of it.
      if (!state.client_left) state.stop(CloseReason::kBackendTruncated);
      co_return false;
    case Received::Kind::kEndOfStream:
    case Received::Kind::kCloseNotify: {
      state.backend_ended = !state.backend_broken;
      state.timers.half_closed();
      if (state.client_left) co_return false;
      if (state.backend_broken) {
        state.stop(CloseReason::kBackendReset);
        co_return false;
      }
      ktls::RecordLayer::SendResult sent = co_await state.client.send_close();
      if (!sent && !cancelled(sent.error())) {
        // A client that has ended and taken every byte need not wait for our close_notify.
        if (!state.client_ended) state.client_leaves();
      } else if (state.backend_send_failed) {
        state.stop(CloseReason::kBackendClosed);
      }
      co_return false;
    }
    case Received::Kind::kFailed:
      if (!cancelled(received.error)) {
        state.stop(reason_of_backend(received.error));
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
  if (state.client_left) state.stop(state.reason_of_leaving());
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

}  // namespace

iouring::Task<RelayEnd> relay(Client& client, ktls::RecordLayer& backend) {
  RelayState state(client, backend);
  co_await iouring::in_scope(state.scope, both_ways(state));
  const RelayEnd end = co_await end_relay(state);
  co_return end;
}

}  // namespace sallyport::gateway
