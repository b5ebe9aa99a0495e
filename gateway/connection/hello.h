// From a client's first byte to its whole ClientHello: the phase hello.
#pragma once

#include "gateway/connection/refusal.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Receives the ClientHello, and suspends OpenSSL behind it: what it asks for is then in
/// Handshake::tls, hello(). Until it is whole the client costs what it sent; then it waits for a
/// slot of --max-handshakes. Within the handshake timeout.
[[nodiscard]] iouring::Task<RefusalPtr> receive_hello(Client& client);

}  // namespace sallyport::gateway
