#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>

#include "gateway/backends/balance.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::gateway {

enum class DialError {
  kNoEndpoint,      ///< none of the route takes new connections
  kFull,            ///< those that would have all the connections they may
  kBackendRefused,  ///< each was tried, and none was there
  kBackendTimeout,  ///< the deadline passed, or the ones that did not refuse were silent
  kCancelled,       ///< the caller's scope was cancelled
  kInternal,        ///< this process cannot make sockets: descriptors or memory are used up
};

struct DialFailure {
  DialError error;
  int last_errno = 0;  ///< of the last attempt that ended; 0 = none
  unsigned attempts = 0;
  std::shared_ptr<const Endpoint> endpoint;  ///< of last_errno, or last tried; null = none
};

struct Dialed {
  iouring::Socket socket;  ///< ordinary descriptor; TCP: NODELAY, keepalive 60 s / 10 s x 6
  std::shared_ptr<const Endpoint> endpoint;
  InUse in_use;  ///< keep it as long as the connection
  unsigned attempts = 1;
};

/// Sends what a connection begins with, on a socket that has just been connected and that nothing
/// was sent on. An error fails the attempt as one of connect(2) does.
using Opening = std::function<iouring::Result<>(const iouring::Socket& backend)>;

/// Connects to an endpoint of `route` within `timeout` (0 = no limit). If it refuses, the next one
/// is tried at once; if it is silent for 250 ms (less of a short timeout), the next one is tried
/// beside it, and the first to answer is taken (the idea of RFC 8305). No more than two are tried
/// at a time, and sixteen in all: the oldest gives way to a third. What failed, and what was silent
/// for that long, is remembered in AddressHealth and EndpointLife. `ring`, `balancer` and `route`
/// outlive the task. Without an `opening` nothing is sent; with one it is called for each endpoint
/// that is about to be taken. `identity` is PickRules::identity.
iouring::Task<std::expected<Dialed, DialFailure>> dial(
    iouring::Ring& ring, Balancer& balancer, const Route& route, std::chrono::milliseconds timeout,
    Opening opening = nullptr, std::optional<std::uint64_t> identity = std::nullopt);

}  // namespace sallyport::gateway
