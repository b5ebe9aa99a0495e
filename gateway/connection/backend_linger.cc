#include "gateway/connection/backend_linger.h"

#include <chrono>
#include <optional>

#include "gateway/connection/peer_state.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// What a backend's kernel holds back from a receiver that is full arrives in less than this once
// there is room.
constexpr milliseconds kCatchUp{250};

enum class Heard : std::uint8_t { kNothing, kBytes, kEnd };

iouring::Task<Heard> hear(ktls::RecordLayer& backend) {
  ktls::Received received = co_await backend.receive();
  if (received.kind == ktls::Received::Kind::kData) co_return Heard::kBytes;
  const bool waited = received.kind == ktls::Received::Kind::kFailed &&
                      received.error.failure == ktls::RecordFailure::kCancelled;
  co_return waited ? Heard::kNothing : Heard::kEnd;
}

iouring::Task<Heard> hear_within(ShardState& shard, ktls::RecordLayer& backend, milliseconds time) {
  iouring::CancelScope* const parent = co_await iouring::current_scope();
  iouring::CancelScope scope(parent);
  iouring::Deadline deadline(shard.ring, scope);
  deadline.arm(time);
  co_return co_await iouring::in_scope(scope, hear(backend));
}

// Most clients leave a while after their last answer: then nothing is left to wait for.
iouring::Task<bool> long_answered(ShardState& shard, ktls::RecordLayer& backend, BackendLeft left) {
  if (!left.answered || left.behind || left.fin_sent) co_return false;
  const std::optional<PeerState> state = co_await peer_state(backend.socket());
  co_return state && state->acknowledged && state->silent_for > shard.timeouts.answered;
}

// Returns when the backend has ended, has had its time, or the scope was cancelled.
iouring::Task<void> read_and_drop(ShardState& shard, ktls::RecordLayer& backend,
                                  BackendLeft& left) {
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  const Timeouts& timeouts = shard.timeouts;
  milliseconds silent{0};
  while (!scope->cancelled()) {
    const milliseconds interval = left.behind ? kCatchUp : timeouts.answered;
    const Heard heard = co_await hear_within(shard, backend, interval);
    if (heard == Heard::kEnd) {
      left.ended = true;
      co_return;
    }
    if (heard == Heard::kBytes) {
      left.answered = left.answered || !left.behind;
      silent = milliseconds(0);
      continue;
    }
    left.behind = false;
    silent += interval;
    if (left.fin_sent || silent < (left.answered ? timeouts.answered : timeouts.unanswered))
      continue;
    const std::optional<PeerState> state = co_await peer_state(backend.socket());
    if (state && state->acknowledged) co_return;
  }
}

}  // namespace

LingeringConnection::LingeringConnection(LiveConnection& connection, iouring::CancelScope& scope)
    : limit_(connection.shard().limit), scope_(scope), counted_(connection.route_cells()) {
  limit_.lingers();
  connection.shard().lingering.push_back(*this);
}

LingeringConnection::~LingeringConnection() {
  unlink();
  if (!ended_for_another_) limit_.lingers_no_more();
}

void LingeringConnection::end() noexcept {
  ended_for_another_ = true;
  unlink();
  scope_.cancel();
}

iouring::Task<void> linger_for_backend(LiveConnection& connection, ktls::RecordLayer& backend,
                                       BackendLeft left) {
  ShardState& shard = connection.shard();
  iouring::CancelScope scope(&connection.scope());
  const LingeringConnection lingering(connection, scope);
  iouring::Deadline latest(shard.ring, scope);
  latest.arm(shard.timeouts.longest_linger());
  const bool dealt_with = co_await long_answered(shard, backend, left);
  if (!dealt_with) co_await iouring::in_scope(scope, read_and_drop(shard, backend, left));
  if (left.ended && left.fin_sent) co_return;
  backend.socket().reset();
}

void end_lingering(ShardState& shard) noexcept {
  while (!shard.lingering.empty() && shard.limit.settle()) shard.lingering.front().end();
}

}  // namespace sallyport::gateway
