// From accept to a client whose address is known: the phase proxy.
#pragma once

#include "gateway/connection/refusal.h"
#include "iouring/task.h"

namespace sallyport::gateway {

class LiveConnection;

/// Whether the socket's peer is one of --accept-proxy: it speaks first, by a PROXY header.
[[nodiscard]] bool comes_by_proxy(const LiveConnection& connection);

/// Receives that header and takes the client's address from it: LiveConnection::client(). What has
/// come behind it is in Handshake::unread. Within the handshake timeout.
[[nodiscard]] iouring::Task<RefusalPtr> receive_proxy_header(Client& client);

/// A handshake failed at bytes that begin a PROXY header, where none may be: says so in the
/// refusal, and counts it.
void refuse_stray_proxy_header(Client& client, Refusal& refused);

}  // namespace sallyport::gateway
