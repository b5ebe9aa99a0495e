#include "gateway/connection/relay_look.h"

#include <chrono>
#include <optional>

#include "gateway/connection/peer_state.h"
#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_state.h"

namespace sallyport::gateway {
namespace {

unsigned bit(metrics::Leg leg) {
  return 1U << static_cast<unsigned>(leg);
}

bool owes(const std::optional<PeerState>& peer, std::chrono::milliseconds time) {
  return peer && peer->owes_for && *peer->owes_for >= time;
}

// A client's end is not received while the backend takes nothing of what came before.
void look_for_end(RelayState& state, const PeerState& client) {
  if (client.gone && !state.client_left) state.client_leaves();
  if (client.ended && !state.timers.is_half_closed()) state.timers.half_closed();
}

iouring::Task<void> look_at_peers(RelayState& state) {
  const std::optional<PeerState> client = co_await peer_state(state.client.socket());
  const std::optional<PeerState> backend = co_await peer_state(state.backend.socket());
  if (client) look_for_end(state, *client);
  const auto time = state.connection.shard().timeouts.owes;
  const bool client_owes = owes(client, time);
  const bool backend_owes = owes(backend, time);
  if (client_owes && state.client_owed) state.stop(CloseReason::kClientReset);
  if (backend_owes && state.backend_owed) state.stop(CloseReason::kBackendReset);
  state.client_owed = client_owes;
  state.backend_owed = backend_owes;
  state.looks = !client || !backend || !client->acknowledged || !backend->acknowledged;
}

}  // namespace

bool look_at(LiveConnection& connection) {
  RelayState* const state = connection.relay();
  if (state == nullptr) return false;
  if (state->timers.lifetime_is_ending()) end_when_quiet(connection, CloseReason::kLifetime);
  if (state->beside && state->beside->size() == 0) state->beside.reset();
  const unsigned heard = connection.take_heard();
  const unsigned both = bit(metrics::Leg::kClient) | bit(metrics::Leg::kBackend);
  if (heard != 0) state->looks = true;
  if (heard == both) state->client_owed = state->backend_owed = false;
  if (!state->looks || heard == both) return false;
  state->run_beside(look_at_peers(*state));
  return true;
}

}  // namespace sallyport::gateway
