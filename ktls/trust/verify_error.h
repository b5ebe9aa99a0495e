#pragma once

#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// The result word for an X509_V_ERR_* of the peer's chain.
HandshakeResult result_of_verify_error(int error) noexcept;

/// An X509_V_ERR_* for which OpenSSL sends the alert that is promised for `result`. Where none is
/// promised it is `error` itself, and the alert is OpenSSL's choice.
int verify_error_for_alert(HandshakeResult result, int error) noexcept;

/// The alert that OpenSSL sends for an X509_V_ERR_* for which none is promised
/// (ssl_x509err2alert(), which is not public).
AlertDescription alert_of_verify_error(int error) noexcept;

}  // namespace sallyport::ktls
