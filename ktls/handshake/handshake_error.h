#pragma once

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// The result word for an error that ended SSL_do_handshake; failures that a callback of ours
/// decided never come here. An alert that the peer sent is kPeerConnectionClosed: A118 has no word
/// for it, the peer chose to go, and the alert's name is in the text.
HandshakeResult result_of_handshake_error(const OpensslError& error) noexcept;

}  // namespace sallyport::ktls
