#include "gateway/backends/dial.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "gateway/backends/connect_outcome.h"
#include "gateway/backends/is_our_own.h"
#include "gateway/backends/tcp_options.h"
#include "iouring/both.h"
#include "iouring/cancel.h"
#include "iouring/connect.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// Connection Attempt Delay (RFC 8305 5): the time that an endpoint may be silent before the next
// one is tried beside it.
constexpr milliseconds kAttemptDelay{250};
constexpr std::size_t kAtATime = 2;
// More endpoints than these are not tried for one connection: where so many fail, all do.
constexpr std::size_t kMostTried = 16;

iouring::Task<iouring::Result<>> sleep(iouring::Ring& ring, milliseconds duration) {
  iouring::Result<> slept = co_await iouring::sleep_for(ring, duration);
  co_return slept;
}

// One connect of a race. Lives in the frame of try_each().
struct Attempt {
  Attempt(Pick its_pick, iouring::CancelScope& race, iouring::TimePoint now)
      : pick(std::move(its_pick)), scope(&race), delay(&race), wait{.since = now} {}

  Pick pick;
  iouring::CancelScope scope;  // of the connect and what it begins with
  iouring::CancelScope delay;  // of the wait for it
  OpeningWait wait;
  bool silent = false;  // others are tried beside it
};

// The attempts of one connection, at most two at a time; the first that connects wins.
class Race {
 public:
  Race(iouring::Ring& ring, Balancer& balancer, const Route& route, const PickRules& rules,
       milliseconds timeout, const Opening& opening, iouring::CancelScope* caller)
      : ring_(ring),
        balancer_(balancer),
        route_(route),
        rules_(rules),
        opening_(opening),
        caller_(caller),
        attempt_delay_(timeout.count() > 0 ? std::min(kAttemptDelay, timeout / 2) : kAttemptDelay),
        scope_(caller),
        deadline_(ring, scope_) {
    if (timeout.count() > 0) deadline_.arm(timeout);
  }

  iouring::Task<void> run();
  std::expected<Dialed, DialFailure> verdict();

 private:
  iouring::Task<void> try_each();
  iouring::Task<void> attempt_to_end(Attempt& attempt);
  iouring::Task<void> connect(Attempt& attempt);
  iouring::Task<bool> use_warm(Attempt& attempt);
  iouring::Task<void> try_others_beside(Attempt& attempt);
  std::optional<Pick> pick();
  bool others_left() { return tried_.size() < std::min(balancer_.usable(route_.name), kMostTried); }
  bool cancelled_by_caller() const { return caller_ != nullptr && caller_->cancelled(); }
  void won(Attempt& attempt, Dialed dialed);
  void failed(const Attempt& attempt, OpeningFailure why);
  void connect_failed(const Attempt& attempt, int error);
  bool of_client(const ktls::HandshakeFailure& failure) const;

  iouring::Ring& ring_;
  Balancer& balancer_;
  const Route& route_;
  const PickRules rules_;
  const Opening& opening_;
  iouring::CancelScope* caller_;
  milliseconds attempt_delay_;
  iouring::CancelScope scope_;
  iouring::Deadline deadline_;
  Tried tried_;
  std::vector<Attempt*> running_;  // the oldest first
  std::optional<Dialed> winner_;
  DialFailure failure_{.error = DialError::kNoEndpoint, .endpoint = nullptr};
  bool any_silent_ = false;
};

iouring::Task<void> Race::run() {
  co_await iouring::in_scope(scope_, try_each());
}

std::optional<Pick> Race::pick() {
  if (winner_ || scope_.cancelled() || tried_.size() >= kMostTried) return std::nullopt;
  auto picked = balancer_.pick(route_.name, rules_, tried_, ring_.now());
  if (!picked) return std::nullopt;
  tried_.push_back(picked->endpoint->id);
  failure_.attempts += 1;
  failure_.endpoint = picked->endpoint;
  return picked;
}

// Tries one endpoint after the other; from one that is silent on, the others beside it.
iouring::Task<void> Race::try_each() {
  bool goes_on = true;
  while (goes_on) {
    std::optional<Pick> picked = pick();
    if (!picked) co_return;
    Attempt attempt(*std::move(picked), scope_, ring_.now());
    if (running_.size() == kAtATime) running_.front()->scope.cancel();
    running_.push_back(&attempt);
    if (!others_left()) {
      co_await attempt_to_end(attempt);
      co_return;
    }
    co_await iouring::both(attempt_to_end(attempt), try_others_beside(attempt));
    goes_on = !attempt.silent;
  }
}

iouring::Task<void> Race::attempt_to_end(Attempt& attempt) {
  co_await iouring::in_scope(attempt.scope, connect(attempt));
  std::erase(running_, &attempt);
  attempt.pick.in_use.release();
  attempt.delay.cancel();
}

// TCP's options come first: one that is set behind a send which holds its bytes back pushes them.
iouring::Task<void> Race::connect(Attempt& attempt) {
  if (attempt.pick.warm) {
    const bool used = co_await use_warm(attempt);
    if (used) co_return;
  }
  const Endpoint& endpoint = *attempt.pick.endpoint;
  const auto first = opening_ ? iouring::FirstBytes::kAtOnce : iouring::FirstBytes::kLater;
  iouring::Result<iouring::Socket> socket =
      co_await iouring::connect(ring_, endpoint.address, first);
  if (!socket) co_return failed(attempt, {.sys_errno = socket.error().value});
  if (winner_) co_return;
  set_tcp_options(socket->descriptor());
  OpenedTls tls;
  if (opening_) {
    auto opened = co_await opening_(*socket, endpoint, attempt.wait);
    if (!opened) co_return failed(attempt, std::move(opened.error()));
    tls = *std::move(opened);
  }
  if (winner_) co_return;
  note_connected(endpoint, ring_.now());
  won(attempt, {.socket = *std::move(socket), .tls = std::move(tls)});
}

// False: the connection that was ready is none any more. It is closed, and tells nothing of its
// endpoint, which may end what is idle.
iouring::Task<bool> Race::use_warm(Attempt& attempt) {
  std::unique_ptr<ReadyConnection> ready = co_await attempt.pick.warm->take();
  const bool by_these_rules = &attempt.pick.warm->route() == &route_;  // and no later ones
  if (!ready || !by_these_rules) co_return false;
  if (opening_ && !ready->peer) {
    const auto opened =
        co_await opening_(ready->records->socket(), *attempt.pick.endpoint, attempt.wait);
    if (!opened) co_return false;
  }
  if (!winner_) won(attempt, {.socket = {}, .ready = std::move(ready)});
  co_return true;
}

iouring::Task<void> Race::try_others_beside(Attempt& attempt) {
  iouring::Result<> waited =
      co_await iouring::in_scope(attempt.delay, sleep(ring_, attempt_delay_));
  attempt.silent = waited.has_value();
  if (attempt.silent) co_await try_each();
}

void Race::won(Attempt& attempt, Dialed dialed) {
  dialed.endpoint = std::move(attempt.pick.endpoint);
  dialed.in_use = std::move(attempt.pick.in_use);
  dialed.attempts = failure_.attempts;
  winner_.emplace(std::move(dialed));
  scope_.cancel();
}

void Race::failed(const Attempt& attempt, OpeningFailure why) {
  if (failure_.error == DialError::kInternal) return;
  if (!why.tls) return connect_failed(attempt, why.sys_errno);
  failure_.tls = std::move(why.tls);
  failure_.last_errno = 0;
  failure_.endpoint = attempt.pick.endpoint;
  if (of_client(*failure_.tls)) return attempt.pick.endpoint->life->count_connect_failure();
  note_opening_failed(balancer_, route_, *attempt.pick.endpoint, ring_.now());
}

// The client chose the protocol that is forwarded. An endpoint that does not speak it is not
// broken: else one client could have it ejected for all.
bool Race::of_client(const ktls::HandshakeFailure& failure) const {
  return route_.backend_tls && route_.backend_tls->forward_alpn &&
         failure.result == ktls::HandshakeResult::kNoApplicationProtocol;
}

// What was cancelled tells something of its endpoint only after a silence.
void Race::connect_failed(const Attempt& attempt, int error) {
  const Endpoint& endpoint = *attempt.pick.endpoint;
  if (error == ECANCELED) {
    any_silent_ = any_silent_ || deadline_.expired();
    const bool silent = ring_.now() - attempt.wait.since >= attempt_delay_ || deadline_.expired();
    if (cancelled_by_caller() || attempt.wait.for_us || !silent) return;
    error = ETIMEDOUT;
  }
  failure_.tls.reset();
  failure_.last_errno = error;
  failure_.endpoint = attempt.pick.endpoint;
  if (is_our_own(error)) {
    failure_.error = DialError::kInternal;
    scope_.cancel();
    return;
  }
  any_silent_ = any_silent_ || error == ETIMEDOUT;
  note_connect_failed(balancer_, route_, endpoint, error, ring_.now());
}

std::expected<Dialed, DialFailure> Race::verdict() {
  if (winner_) return *std::move(winner_);
  if (cancelled_by_caller()) {
    failure_.error = DialError::kCancelled;
  } else if (failure_.attempts == 0 && balancer_.any_full(route_.name, rules_)) {
    failure_.error = DialError::kFull;
  } else if (failure_.tls) {
    failure_.error = DialError::kBackendTls;
  } else if (failure_.attempts > 0 && failure_.error != DialError::kInternal) {
    failure_.error = any_silent_ ? DialError::kBackendTimeout : DialError::kBackendRefused;
  }
  return std::unexpected(std::move(failure_));
}

}  // namespace

iouring::Task<std::expected<Dialed, DialFailure>> dial(iouring::Ring& ring, Balancer& balancer,
                                                       const Route& route, milliseconds timeout,
                                                       Opening opening,
                                                       std::optional<std::uint64_t> identity) {
  iouring::CancelScope* scope = co_await iouring::current_scope();
  Race race(ring, balancer, route, PickRules(route, identity), timeout, opening, scope);
  co_await race.run();
  co_return race.verdict();
}

}  // namespace sallyport::gateway
