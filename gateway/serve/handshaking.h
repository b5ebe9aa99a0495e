// The phases hello and handshake: from the first byte to a peer that is recognised.
#pragma once

#include <expected>
#include <memory>

#include "gateway/serve/connection.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake.h"

namespace sallyport::gateway {

/// Runs the handshake on `client` within the handshake timeout, our queue included. The route is
/// chosen and counted on the way. What comes back is done, with output() to be sent still and
/// tickets not yet issued, or the refusal; its alert has then been sent.
iouring::Task<std::expected<std::unique_ptr<ktls::ServerHandshake>, Refusal>> shake_hands(
    Connection& connection, iouring::Socket& client);

}  // namespace sallyport::gateway
