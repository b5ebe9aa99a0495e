#include "gateway/connection/recheck.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "gateway/connection/end_window.h"
#include "gateway/connection/judge_live.h"
#include "gateway/connection/quiet_moment.h"
#include "gateway/connection/relay_end.h"
#include "iouring/deadline.h"
#include "iouring/next_iteration.h"
#include "iouring/precise_sleep.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// How long a request may have to wait for a turn. With shorter ones a connection costs more: its
// data and the code come into the cache anew.
constexpr std::chrono::microseconds kTurn{40};
constexpr unsigned kTurnsInARow = 4;
constexpr milliseconds kPause{1};  // rounded up to a tick
// What an end needs (an alert, what is cancelled and closed, the line for the log) is done behind
// the turn that begins it: some 110 µs in six iterations. What comes meanwhile waits for one of
// these, which is longer where several ends go through it together. So they are begun one at a time
// and further apart than an end takes, unless they are late.
constexpr std::chrono::microseconds kBetweenEnds{400};
constexpr std::chrono::microseconds kBetweenLateEnds{100};
constexpr milliseconds kLate{100};
constexpr milliseconds kClockTick{1'000};
constexpr milliseconds kBetweenLooks{8};  // at what expires
constexpr std::chrono::seconds kJudgeAllEvery{60};

/// One turn of the shard that belongs to the recheck.
class Turn {
 public:
  [[nodiscard]] bool over() const { return Clock::now() - begun_ > kTurn; }
  [[nodiscard]] std::chrono::nanoseconds took() const { return Clock::now() - begun_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begun_ = Clock::now();
};

/// What is between two turns: what came to the shard meanwhile is done, and after some turns in a
/// row there is a pause.
class Pace {
 public:
  explicit Pace(iouring::Ring& ring) : ring_(ring) {}

  /// False if its scope was cancelled.
  iouring::Task<bool> rest() {
    co_await iouring::next_iteration(ring_);
    if (++turns_ % kTurnsInARow != 0) co_return true;
    iouring::Result<> slept = co_await iouring::sleep_for(ring_, kPause);
    co_return slept.has_value();
  }

 private:
  iouring::Ring& ring_;
  unsigned turns_ = 0;
};

bool is_expiry(LiveCause cause) {
  return cause == LiveCause::kExpired || cause == LiveCause::kBackendExpired;
}

milliseconds left_of(const ShardState& shard, const ktls::PeerTrust& peer) {
  return peer.not_after - shard.now();
}

EndWindow expiry_window(const LiveConnection& connection, const ktls::PeerTrust& peer) {
  const ShardState& shard = connection.shard();
  const ktls::PeerTrust::Leaf& leaf = peer.leaf;
  return window_of_expiry(
      left_of(shard, peer),
      {.spread = shard.ends.expiry_spread, .leaf_lifetime = leaf.not_after - leaf.not_before},
      connection.age(), connection.chance());
}

// Whether --keep-live keeps those whose chain has expired.
bool keeps_expired(const ShardState& shard) {
  return contains(shard.ends.keep, LiveCause::kExpired);
}

/// The next expiry that ends a connection, of its client's chain or its backend's.
struct Expiry {
  LiveCause cause{};
  milliseconds left = milliseconds::max();  // of both chains
  EndWindow window{};
};

// None: the client's is kept, and the backend has none.
std::optional<Expiry> next_expiry(const LiveConnection& connection) {
  const ShardState& shard = connection.shard();
  std::optional<Expiry> next;
  const auto consider = [&](const ktls::PeerTrust& peer, LiveCause cause) {
    Expiry expiry = next.value_or(Expiry());
    const EndWindow window = expiry_window(connection, peer);
    if (!next || window.asks_in < expiry.window.asks_in) {
      expiry.cause = cause;
      expiry.window = window;
    }
    expiry.left = std::min(expiry.left, left_of(shard, peer));
    next = expiry;
  };
  if (!keeps_expired(shard)) consider(connection.peer(), LiveCause::kExpired);
  if (connection.backend_peer() != nullptr)
    consider(*connection.backend_peer(), LiveCause::kBackendExpired);
  return next;
}

// Whether there is time left before an expiry that its end is pending for: a clock that was set
// back gives it more.
bool has_time(const LiveConnection& connection, LiveCause expiry) {
  const bool of_backend = expiry == LiveCause::kBackendExpired;
  const ktls::PeerTrust& peer = of_backend ? *connection.backend_peer() : connection.peer();
  return expiry_window(connection, peer).asks_in > kClockTick;
}

void look_again_at(ShardState& shard, WallTime time) {
  shard.recheck.soonest_expiry = std::min(shard.recheck.soonest_expiry, time);
}

PendingEnd in_window(const ShardState& shard, LiveCause cause, const EndWindow& window) {
  const auto now = shard.ring.now();
  return {.cause = cause, .asks_at = now + window.asks_in, .ends_at = now + window.ends_in};
}

// Behind the route's time for it, like the ends that a change causes.
PendingEnd end_of_removal(const LiveConnection& connection) {
  iouring::TimePoint since = connection.backend()->life->leaving_since();
  if (since == iouring::TimePoint::max())
    since = connection.shard().ring.now();  // it was taken back
  const iouring::TimePoint over = since + connection.route().endpoint_rules.removal_timeout;
  const EndWindow window =
      window_of_change(connection.shard().ends.end_spread, connection.chance());
  return {.cause = LiveCause::kEndpointRemoved,
          .asks_at = over + window.asks_in,
          .ends_at = over + window.ends_in};
}

PendingEnd end_of_change(const LiveConnection& connection, LiveCause cause) {
  const ShardState& shard = connection.shard();
  if (cause == LiveCause::kEndpointRemoved) return end_of_removal(connection);
  if (prefers_quiet_moment(reason_of(cause)))
    return in_window(shard, cause, window_of_change(shard.ends.end_spread, connection.chance()));
  const auto ends_in =
      std::chrono::duration_cast<milliseconds>(shard.ends.end_spread * connection.chance());
  PendingEnd end = in_window(shard, cause, {.asks_in = ends_in, .ends_in = ends_in});
  end.asked = true;  // no quiet moment is looked for
  return end;
}

// What ends it waits no longer than its chains last: a change may have the longer time, and the
// clock may have been set since.
void end_by_expiry(LiveConnection& connection, PendingEnd end, milliseconds until_expiry) {
  ShardState& shard = connection.shard();
  const milliseconds left = std::max(until_expiry, milliseconds(0));
  if (left.count() > 0) look_again_at(shard, shard.now() + left);
  // In milliseconds, of which those to the year 9999 have no nanoseconds.
  if (std::chrono::ceil<milliseconds>(end.ends_at - shard.ring.now()) <= left) return;
  end.ends_at = shard.ring.now() + left;
  end.asks_at = std::min(end.asks_at, end.ends_at);
  shard.recheck.ends.set(connection, end);
}

void look_at_kept_expiry(LiveConnection& connection) {
  ShardState& shard = connection.shard();
  if (left_of(shard, connection.peer()).count() > 0)
    return look_again_at(shard, connection.peer().not_after);
  if (!connection.kept()) connection.set_kept(LiveCause::kExpired);
}

// What is due when its chains expire, and when that is.
void look_at_expiry(LiveConnection& connection) {
  ShardState& shard = connection.shard();
  if (keeps_expired(shard)) look_at_kept_expiry(connection);
  const std::optional<Expiry> expiry = next_expiry(connection);
  if (!expiry) return;
  if (const PendingEnd* const pending = shard.recheck.ends.find(connection))
    return end_by_expiry(connection, *pending, expiry->left);
  const milliseconds asks_in = expiry->window.asks_in;
  if (asks_in.count() > 0) return look_again_at(shard, shard.now() + asks_in);
  shard.recheck.ends.set(connection, in_window(shard, expiry->cause, expiry->window));
}

// The end that is pending stays as it is where the new one is no earlier.
void end_for_change(LiveConnection& connection, LiveCause cause) {
  PendingEnds& ends = connection.shard().recheck.ends;
  const PendingEnd* const pending = ends.find(connection);
  // The time of a route for that may be another by now.
  const bool same_removal = cause == LiveCause::kEndpointRemoved && pending != nullptr &&
                            pending->cause == cause && !pending->asked;
  if (same_removal) return ends.set(connection, end_of_removal(connection));
  if (pending != nullptr && pending->cause <= cause && !is_expiry(pending->cause)) return;
  PendingEnd end = end_of_change(connection, cause);
  if (pending != nullptr) {
    end.ends_at = std::min(end.ends_at, pending->ends_at);
    end.asks_at = std::min(end.asks_at, end.ends_at);
    if (pending->asked) end_no_more_when_quiet(connection, reason_of(pending->cause));
  }
  ends.set(connection, end);
}

void let_go_on(LiveConnection& connection) {
  PendingEnds& ends = connection.shard().recheck.ends;
  const PendingEnd* const pending = ends.find(connection);
  if (pending == nullptr) return;
  if (pending->asked) end_no_more_when_quiet(connection, reason_of(pending->cause));
  ends.remove(connection);
}

// Its end is pending for that.
bool expires_soon(const LiveConnection& connection) {
  const PendingEnd* const pending = connection.shard().recheck.ends.find(connection);
  return pending != nullptr && is_expiry(pending->cause) && !has_time(connection, pending->cause);
}

void judge_again(LiveConnection& connection) {
  const Judged judged = judge_live(connection);
  connection.set_kept(judged.kept);
  if (judged.ends && !is_expiry(*judged.ends)) {
    end_for_change(connection, *judged.ends);
  } else if (!expires_soon(connection)) {
    let_go_on(connection);
  }
  look_at_expiry(connection);
}

enum class Look { kAtExpiry, kAtAll };

void look_at(LiveConnection& connection, Look look) {
  if (!connection.is_established()) return;
  if (look == Look::kAtAll) return judge_again(connection);
  look_at_expiry(connection);
}

// For one turn. False behind the last. A connection may end before the next turn: none is held
// until then.
bool look_at_some(LiveWalk& connections, Look look, std::chrono::nanoseconds& longest_turn) {
  const Turn turn;
  bool more = true;
  while (more && !turn.over()) {
    LiveConnection* const connection = connections.next();
    more = connection != nullptr;
    if (more) look_at(*connection, look);
  }
  longest_turn = std::max(longest_turn, turn.took());
  return more;
}

// False if its scope was cancelled.
iouring::Task<bool> walk(ShardState& shard, Look look) {
  const auto begun = std::chrono::steady_clock::now();
  std::chrono::nanoseconds longest_turn{0};
  shard.recheck.soonest_expiry = WallTime::max();
  LiveWalk connections(shard);
  Pace pace(shard.ring);
  while (look_at_some(connections, look, longest_turn)) {
    const bool goes_on = co_await pace.rest();
    if (!goes_on) co_return false;
  }
  if (look == Look::kAtAll)
    shard.metrics.live_recheck(std::chrono::steady_clock::now() - begun, longest_turn);
  co_return true;
}

// The time has come to ask it, or to end it; unless what it ends for holds no longer.
void carry_out(LiveConnection& connection) {
  ShardState& shard = connection.shard();
  if (!connection.is_established()) return shard.recheck.ends.remove(connection);
  const Judged judged = judge_live(connection);
  PendingEnd end = *shard.recheck.ends.find(connection);
  const bool holds =
      is_expiry(end.cause) ? !has_time(connection, end.cause) : judged.ends == end.cause;
  if (!holds) {
    let_go_on(connection);
    return judge_again(connection);
  }
  const CloseReason reason = reason_of(end.cause);
  if (!std::exchange(end.asked, true) && end.ends_at > shard.ring.now()) {
    end_when_quiet(connection, reason);
    return shard.recheck.ends.set(connection, end);
  }
  shard.recheck.ends.remove(connection);
  if (alert_of_live(reason)) return end_with_alert(connection, reason);
  connection.end(reason);
}

std::chrono::nanoseconds pause_behind_an_end(const ShardState& shard) {
  const auto next = shard.recheck.ends.next();
  const bool late = next && shard.ring.now() - *next > kLate;
  return late ? kBetweenLateEnds : kBetweenEnds;
}

// False if its scope was cancelled.
iouring::Task<bool> carry_out_due(ShardState& shard) {
  const PendingEnds& ends = shard.recheck.ends;
  while (LiveConnection* const connection = ends.due(shard.ring.now())) {
    carry_out(*connection);
    const std::chrono::nanoseconds pause = pause_behind_an_end(shard);
    if (ends.due(shard.ring.now() + pause) == nullptr) co_return true;
    iouring::Result<> slept = co_await iouring::sleep_precisely(shard.ring, pause);
    if (!slept) co_return false;
  }
  co_return true;
}

std::chrono::nanoseconds until_next(const ShardState& shard) {
  std::chrono::nanoseconds time = kClockTick;
  if (shard.recheck.soonest_expiry != WallTime::max()) {
    const milliseconds left = shard.recheck.soonest_expiry - shard.now();
    time = std::clamp(left, kBetweenLooks, kClockTick);
  }
  if (const auto next = shard.recheck.ends.next()) time = std::min(time, *next - shard.ring.now());
  return std::max(time, std::chrono::nanoseconds(0));
}

// Not until a tick: the ends of a whole tick would be due together.
iouring::Task<void> sleep(ShardState& shard, std::chrono::nanoseconds time) {
  [[maybe_unused]] iouring::Result<> slept = co_await iouring::sleep_precisely(shard.ring, time);
}

}  // namespace

void watch_expiry(const LiveConnection& connection) {
  ShardState& shard = connection.shard();
  if (keeps_expired(shard)) look_again_at(shard, connection.peer().not_after);
  if (const std::optional<Expiry> expiry = next_expiry(connection))
    look_again_at(shard, shard.now() + expiry->window.asks_in);
}

std::optional<ktls::HandshakeFailure> judge_new_backend(LiveConnection& connection) {
  BackendVerdict verdict = judge_backend_now(connection);
  if (const auto result = verdict.result(); result != ktls::HandshakeResult::kSuccess)
    return ktls::HandshakeFailure{.result = result,
                                  .detail = std::move(verdict.refused).value_or(std::string())};
  if (connection.backend_peer() != nullptr) watch_expiry(connection);
  if (causes_of_endpoint(connection).any()) judge_again(connection);
  return std::nullopt;
}

void judge_all(ShardState& shard) noexcept {
  shard.recheck.due = true;
  if (shard.recheck.sleeping != nullptr) shard.recheck.sleeping->cancel();
}

iouring::Task<void> recheck_live(ShardState& shard) {
  iouring::CancelScope* const scope = co_await iouring::current_scope();
  auto judged_at = shard.ring.now();
  while (!scope->cancelled()) {
    const bool all =
        std::exchange(shard.recheck.due, false) || shard.ring.now() - judged_at >= kJudgeAllEvery;
    if (all || shard.now() >= shard.recheck.soonest_expiry) {
      if (all) judged_at = shard.ring.now();
      const bool goes_on = co_await walk(shard, all ? Look::kAtAll : Look::kAtExpiry);
      if (!goes_on) co_return;
    }
    const bool goes_on = co_await carry_out_due(shard);
    if (!goes_on) co_return;
    if (shard.recheck.due) continue;
    iouring::CancelScope sleeping(scope);
    shard.recheck.sleeping = &sleeping;
    co_await iouring::in_scope(sleeping, sleep(shard, until_next(shard)));
    shard.recheck.sleeping = nullptr;
  }
}

}  // namespace sallyport::gateway
