#include "gateway/backends/dial.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "gateway/backends/tcp_options.h"
#include "iouring/cancel.h"
#include "iouring/connect.h"
#include "iouring/deadline.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;

// Below this an attempt is not worth starting another one for: a SYN may get lost anywhere.
constexpr milliseconds kShortestShare{100};

struct Attempt {
  iouring::Result<iouring::Socket> socket;
  bool timed_out = false;
};

// One connect, under a scope of its own that the share of time cancels. 0 = no limit.
iouring::Task<Attempt> attempt(iouring::Ring& ring, iouring::SocketAddress address,
                               milliseconds share) {
  iouring::CancelScope* outer = co_await iouring::current_scope();
  iouring::CancelScope scope(outer);
  iouring::Deadline deadline(ring, scope);
  if (share.count() > 0) deadline.arm(share);
  iouring::Result<iouring::Socket> socket =
      co_await iouring::in_scope(scope, iouring::connect(ring, address));
  const bool cancelled = outer && outer->cancelled();
  const bool timed_out = !socket && deadline.expired() && !cancelled;
  co_return Attempt{std::move(socket), timed_out};
}

// Errors of socket(2) and of our own memory: no endpoint is to blame, and none will do better.
bool is_our_own(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

// How long the next attempt may take: half of what is left while others could be tried.
milliseconds share_of(milliseconds left, bool others) {
  if (!others) return left;
  return std::min(left, std::max(left / 2, kShortestShare));
}

}  // namespace

iouring::Task<std::expected<Dialed, DialFailure>> dial(iouring::Ring& ring, Balancer& balancer,
                                                       const Route& route, milliseconds timeout) {
  const iouring::TimePoint start = ring.now();
  iouring::CancelScope* scope = co_await iouring::current_scope();
  Tried tried;
  DialFailure failure{.error = DialError::kNoEndpoint, .endpoint = nullptr};
  bool any_timed_out = false;
  while (true) {
    std::optional<Pick> pick = balancer.pick(route, tried);
    if (!pick) break;
    milliseconds share{0};
    if (timeout.count() > 0) {
      const auto spent = std::chrono::duration_cast<milliseconds>(ring.now() - start);
      if (spent >= timeout) {
        any_timed_out = true;
        break;
      }
      share = share_of(timeout - spent, balancer.usable(route.name) > tried.size() + 1);
    }
    tried.push_back(pick->endpoint->id);
    failure.attempts += 1;
    failure.endpoint = pick->endpoint;

    Attempt made = co_await attempt(ring, pick->endpoint->address, share);
    if (made.socket) {
      set_tcp_options(made.socket->descriptor());
      co_return Dialed{std::move(*made.socket), std::move(pick->endpoint), std::move(pick->in_use),
                       failure.attempts};
    }
    failure.last_errno = made.timed_out ? ETIMEDOUT : made.socket.error().value;
    any_timed_out = any_timed_out || failure.last_errno == ETIMEDOUT;
    if (scope && scope->cancelled()) {
      failure.error = DialError::kCancelled;
      co_return std::unexpected(std::move(failure));
    }
    if (is_our_own(failure.last_errno)) {
      failure.error = DialError::kInternal;
      co_return std::unexpected(std::move(failure));
    }
  }
  if (failure.attempts > 0) {
    failure.error = any_timed_out ? DialError::kBackendTimeout : DialError::kBackendRefused;
  }
  co_return std::unexpected(std::move(failure));
}

}  // namespace sallyport::gateway
