#pragma once

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// The result word for an error that ended SSL_do_handshake; failures that a callback of ours
/// decided never come here. An alert that the client sent is kPeerConnectionClosed: A118 has no
/// word for it, the client chose to go, and the alert's name is in the text.
HandshakeResult classify_handshake_error(const OpensslError& error) noexcept;

/// The result word for an X509_V_ERR_* of the client's chain.
HandshakeResult classify_verify_error(int error) noexcept;

/// An X509_V_ERR_* that makes OpenSSL send the alert that is promised for `result`; `error` itself
/// where none is promised, so that OpenSSL's own choice stands.
int verify_error_for_alert(HandshakeResult result, int error) noexcept;

}  // namespace sallyport::ktls
