// Application data both ways, until both sides have ended or something else ends it.
#pragma once

#include <optional>

#include "gateway/connection/client.h"
#include "gateway/connection/close_reason.h"
#include "iouring/task.h"
#include "ktls/records/record_layer.h"

namespace sallyport::gateway {

/// What linger_for_backend() has to know of a backend whose client has left.
struct BackendLeft {
  bool fin_sent = false;  ///< the client ended cleanly, and the backend was told so
  bool answered = false;  ///< it sent something since the last byte that it was sent
  bool behind = false;    ///< something that it sent before waits, because the client took no more
  bool ended = false;     ///< it ended cleanly, too
};

struct RelayEnd {
  CloseReason reason = CloseReason::kInternalError;
  std::optional<BackendLeft> lingers = {};  ///< the backend is owed linger_for_backend()
  bool client_ended = false;                ///< by close_notify
};

/// Relays between client and backend: two directions, one chunk under way in each, so that back
/// pressure needs no rule of its own. A clean end of one side is passed on (close_notify, FIN) and
/// the other side goes on; whatever is no clean end stops both.
///
/// Client::early goes first. A client that leaves does not stop what it sent before: that goes on
/// to the backend, to the client's end, while what the backend sends is dropped. Both sockets are
/// closed, reset or shut when it returns, as the reason demands, but for a backend that lingers:
///   done                both ended cleanly, every byte was taken
///   client_closed       the client ended cleanly, but did not wait for the backend's rest
///   backend_closed      the backend ended first; then the client left without close_notify, or
///                       the backend took no more of what the client sent
///   client_truncated, client_reset, backend_reset, record_error, keyupdate_flood,
///   keyupdate_unsupported, and those of a backend that speaks TLS (backend_truncated and so on);
///   idle_timeout, half_close_timeout, lifetime, or the reason given to
///   LiveConnection::end() or end_when_quiet()
/// Neither side sees a clean end that the other did not give, but for a client at a quiet moment: a
/// drain or the lifetime ends it with close_notify then, else by a FIN without it, as timeouts and
/// internal errors do; a reset of the backend is one to the client, behind everything that was
/// sent; offences get an alert. A backend gets a reset.
iouring::Task<RelayEnd> relay(Client& client, ktls::RecordLayer& backend);

}  // namespace sallyport::gateway
