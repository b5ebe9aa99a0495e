#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>

#include "gateway/backends/balance.h"
#include "gateway/backends/tls_opening.h"
#include "gateway/backends/warm_stock.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/client_handshake.h"
#include "ktls/records/ticket_sink.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::gateway {

enum class DialError {
  kNoEndpoint,      ///< none of the route takes new connections
  kFull,            ///< those that would have all the connections they may
  kBackendRefused,  ///< each was tried, and none was there
  kBackendTimeout,  ///< the deadline passed, or the ones that did not refuse were silent
  kBackendTls,      ///< the last that failed was there, and DialFailure::tls says what was wrong
  kCancelled,       ///< the caller's scope was cancelled
  kInternal,        ///< this process cannot make sockets: descriptors or memory are used up
};

struct DialFailure {
  DialError error;
  int last_errno = 0;  ///< of the last attempt that ended; 0 = none
  std::unique_ptr<const ktls::HandshakeFailure> tls = nullptr;  ///< likewise; null: none
  unsigned attempts = 0;
  std::shared_ptr<const Endpoint> endpoint;  ///< of last_errno or tls, or last tried; null = none
};

/// The TLS that a connection begins with.
struct OpenedTls {
  /// At kDone, and everything was sent; null: the connection is in plaintext.
  std::unique_ptr<ktls::ClientHandshake> handshake;
  std::unique_ptr<ktls::TicketSink> tickets;  ///< for its record layer; null: none are taken
};

struct Dialed {
  /// Ordinary descriptor; TCP: NODELAY, keepalive 60 s / 10 s x 6. Empty where `ready` is there.
  iouring::Socket socket;
  std::unique_ptr<ReadyConnection> ready = nullptr;  ///< one that was warm; its socket likewise
  std::shared_ptr<const Endpoint> endpoint = nullptr;
  InUse in_use = {};   ///< keep it as long as the connection
  OpenedTls tls = {};  ///< what the opening gave
  unsigned attempts = 1;
};

/// For whom an opening waits: only a silence of the backend tells something of it.
struct OpeningWait {
  bool for_us = false;         ///< for a turn of this process
  iouring::TimePoint since{};  ///< else
};

/// Does what a connection begins with, on a socket that has just been connected and that nothing
/// was sent on.
using Opening = std::function<iouring::Task<std::expected<OpenedTls, OpeningFailure>>(
    iouring::Socket& backend, const Endpoint& endpoint, OpeningWait& wait)>;

/// Connects to an endpoint of `route` within `timeout` (0 = no limit). If it refuses, the next one
/// is tried at once; if it is silent for 250 ms (less of a short timeout), the next one is tried
/// beside it, and the first to answer is taken (the idea of RFC 8305). No more than two are tried
/// at a time, and sixteen in all: the oldest gives way to a third. What failed, and what was silent
/// for that long, is remembered in AddressHealth and EndpointLife. `ring`, `balancer` and `route`
/// outlive the task. Without an `opening` nothing is sent; with one it is called for each endpoint
/// that was connected to, and the first whose opening ends well is taken. `identity` is
/// PickRules::identity.
///
/// Where an endpoint has a warm connection, that is taken instead of a new one; with an opening
/// only if it is plaintext, since the others had theirs. One that proves to be none any more, or
/// whose opening fails, is closed, and the endpoint connected to.
iouring::Task<std::expected<Dialed, DialFailure>> dial(
    iouring::Ring& ring, Balancer& balancer, const Route& route, std::chrono::milliseconds timeout,
    Opening opening = nullptr, std::optional<std::uint64_t> identity = std::nullopt);

}  // namespace sallyport::gateway
