// The phases hello and handshake: from the first byte to a peer that is recognised.
#pragma once

#include <cstddef>
#include <expected>
#include <vector>

#include "gateway/connection/connection.h"
#include "iouring/socket.h"
#include "iouring/task.h"
#include "ktls/handshake/server_handshake.h"

namespace sallyport::gateway {

/// A peer whose certificate is verified.
struct Handshaken {
  ktls::Outcome outcome;
  bool authorized = false;        ///< may use the route that it asked for
  std::vector<std::byte> output;  ///< to be sent before anything else; tickets, if authorised
};

/// Runs the handshake on `client` within the handshake timeout, our queue included. The route is
/// chosen and counted on the way. After a refusal its alert has been sent.
iouring::Task<std::expected<Handshaken, Refusal>> shake_hands(Connection& connection,
                                                              iouring::Socket& client);

}  // namespace sallyport::gateway
