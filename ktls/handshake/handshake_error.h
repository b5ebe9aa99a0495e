#pragma once

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// The result for an error that ended SSL_do_handshake(3); not for failures that a callback of ours
/// decided. An alert that the peer sent is kPeerConnectionClosed, since the peer ended the
/// connection: gRPC proposal A118 has no word of its own for it, and the alert's name is in the
/// text.
HandshakeResult result_of_handshake_error(const OpensslError& error) noexcept;

}  // namespace sallyport::ktls
