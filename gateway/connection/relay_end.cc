#include "gateway/connection/relay_end.h"

#include <optional>

#include "gateway/connection/lingering_close.h"
#include "gateway/connection/peer_state.h"
#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_state.h"
#include "iouring/both.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

CloseReason verdict(const RelayState& state) {
  if (const auto ended = state.connection.ended_by()) return *ended;
  if (state.reason) return *state.reason;
  if (state.client_left) return state.reason_of_leaving();
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

// So that the client knows that it was cut: without close_notify, or, in plaintext, by a reset.
iouring::Task<void> cut_off(RelayState& state) {
  LiveConnection& connection = state.connection;
  if (!connection.is_egress()) {
    co_await close_with_fin(connection.shard(), state.client);
    co_return;
  }
  co_await iouring::in_scope(connection.scope(),
                             until_acknowledged(connection, state.client.socket()));
  state.client.socket().reset();
}

// What each side is left with. Not inlined: its frame is not needed before.
[[gnu::noinline]] iouring::Task<void> leave(RelayState& state, CloseReason reason) {
  LiveConnection& connection = state.connection;
  ktls::RecordLayer& client = state.client;
  if (is_offence_of_backend(reason)) {
    // The alert follows what it was sent, and a reset would overtake it.
    co_await iouring::both(cut_off(state), linger(connection.shard(), state.backend.socket()));
    co_return;
  }
  // No clean end for a backend whose client gave none.
  if (reason != CloseReason::kDone && !(state.client_ended && state.backend_ended)) {
    state.backend.socket().reset();
  }
  // A client that speaks plaintext knows no alert: it is cut off.
  if (const auto alert = alert_of_live(reason); alert && !connection.is_egress()) {
    co_await close_with_alert(connection.shard(), client, *alert);
    co_return;
  }
  if (prefers_quiet_moment(reason)) {
    co_await (state.quiet ? close_with_close_notify(connection.shard(), client) : cut_off(state));
    co_return;
  }
  if (reason == CloseReason::kBackendReset) {
    co_await iouring::in_scope(connection.scope(), until_acknowledged(connection, client.socket()));
    client.socket().reset();
    co_return;
  }
  if (state.client_owed) client.socket().reset();
  if (reason == CloseReason::kDone || left_by_client(reason)) co_return;
  co_await cut_off(state);
}

// Behind the records that are under way: a send that is cancelled may leave half a record, and
// nothing could follow that.
iouring::Task<void> send_alert_and_stop(RelayState& state, ktls::AlertDescription alert) {
  ShardState& shard = state.connection.shard();
  iouring::Deadline deadline(shard.ring, state.scope);
  deadline.arm(shard.timeouts.lingering_close);
  [[maybe_unused]] ktls::RecordLayer::SendResult sent =
      co_await iouring::in_scope(state.scope, state.client.send_alert(alert));
  state.scope.cancel();
}

}  // namespace

void end_with_alert(LiveConnection& connection, CloseReason reason) {
  RelayState* const state = connection.relay();
  const auto alert = alert_of_live(reason);
  if (state == nullptr || !alert) return connection.end(reason);
  if (state->reason) return;  // it ends already
  state->reason = reason;
  state->run_beside(send_alert_and_stop(*state, *alert));
}

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
  if (prefers_quiet_moment(reason) && !state.quiet) {
    co_await within_lingering_time(state.connection.shard(), find_quiet(state));
  }
  co_await leave(state, reason);
  co_return RelayEnd{.reason = reason, .lingers = {}, .client_ended = state.client_ended};
}

}  // namespace sallyport::gateway
