// From a connected backend to one that has proven who it is: a part of the phase backend.
#pragma once

#include <expected>
#include <memory>
#include <optional>

#include "gateway/backends/dial.h"
#include "gateway/connection/backend_caller.h"
#include "gateway/connection/close_reason.h"
#include "gateway/connection/live_connection.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/client_context.h"
#include "ktls/handshake/client_handshake.h"

namespace sallyport::gateway {

/// By what a connection's backends are dialled: one generation's, to its end.
struct BackendTerms {
  std::shared_ptr<const Route> route;            ///< and with it the policy that it is part of
  std::shared_ptr<ktls::ClientContext> context;  ///< null exactly if it has no `backend-tls`
};

/// Those of the generation in force; where that lacks the connection's route, those that it had,
/// but nothing if these have `backend-tls`: there is no trust for it any more.
[[nodiscard]] std::optional<BackendTerms> backend_terms(const LiveConnection& connection);

/// The client's side of TLS with a backend that was just connected to, by `terms`, which have
/// `backend-tls`. OpenSSL's steps are the idle worker's, ahead of those of new clients. While the
/// backend is waited for, the handshake is within --handshake-memory, as one of this caller.
///
/// The server is the one that `verify` and the endpoint's labels ask for (ExpectedBackend), and
/// speaks the protocol that the client was told, where the route forwards that: else the handshake
/// fails. It fails, too, where the backend speaks first. Counted, unless its scope was cancelled.
/// A session with this server is resumed where the shard has one, and new ones are kept.
[[nodiscard]] iouring::Task<std::expected<OpenedTls, OpeningFailure>> shake_hands(
    BackendCaller& caller, const BackendTerms& terms, iouring::Socket& backend,
    const Endpoint& endpoint, OpeningWait& wait);

/// The reason of a connection whose last endpoint failed so.
[[nodiscard]] CloseReason reason_of_backend(const ktls::HandshakeFailure& failure);

}  // namespace sallyport::gateway
