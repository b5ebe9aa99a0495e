#include "gateway/connection/quiet_moment.h"

#include <optional>

#include "gateway/connection/peer_state.h"
#include "gateway/connection/relay_state.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

// Nothing moved for a while, no answer is due, and everything arrived.
iouring::Task<bool> is_quiet(RelayState& state) {
  const bool asked = state.connection.received_bytes() > 0 && !state.backend_answered;
  if (asked || state.client_ended || state.backend_ended || state.client_took_late) co_return false;
  if (!state.client.unopened().empty() || !state.backend.unopened().empty()) co_return false;
  // What is relayed moves on the client's leg.
  const std::optional<PeerState> client = co_await peer_state(state.client.socket());
  if (!client || !client->acknowledged) co_return false;
  if (client->still_for < state.connection.shard().timeouts.still) co_return false;
  const std::optional<PeerState> backend = co_await peer_state(state.backend.socket());
  co_return backend && backend->acknowledged;
}

// False: its scope was cancelled.
iouring::Task<bool> look_later(RelayState& state) {
  ShardState& shard = state.connection.shard();
  iouring::Result<> slept = co_await iouring::sleep_for(shard.ring, shard.timeouts.still);
  co_return slept.has_value();
}

iouring::Task<void> end_at_quiet_moment(RelayState& state) {
  bool goes_on = true;
  while (goes_on && state.ends_when_quiet) {
    co_await find_quiet(state);
    if (state.quiet && state.ends_when_quiet) {
      state.stop(*state.ends_when_quiet);
      co_return;
    }
    goes_on = co_await look_later(state);
  }
  state.quiet = false;  // of a moment that is over
  state.looks_for_quiet = false;
}

}  // namespace

iouring::Task<void> find_quiet(RelayState& state) {
  // Not into the bit field at once: clang 19 loses it there, with TSan at -O1.
  const bool quiet = co_await is_quiet(state);
  state.quiet = quiet;
}

void end_no_more_when_quiet(LiveConnection& connection, CloseReason reason) {
  RelayState* const state = connection.relay();
  if (state != nullptr && state->ends_when_quiet == reason) state->ends_when_quiet.reset();
}

void end_when_quiet(LiveConnection& connection, CloseReason reason) {
  RelayState* const state = connection.relay();
  if (state == nullptr || state->ends_when_quiet) return;
  state->ends_when_quiet = reason;
  if (state->looks_for_quiet) return;  // it was taken back since, which is not seen yet
  state->looks_for_quiet = true;
  state->run_beside(end_at_quiet_moment(*state));
}

}  // namespace sallyport::gateway
