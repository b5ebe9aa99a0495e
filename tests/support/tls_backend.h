// Backends that speak TLS, by OpenSSL's public API.
#pragma once

#include <openssl/types.h>

#include <functional>
#include <string>

#include "tests/support/backend.h"
#include "tests/support/pki.h"

namespace sallyport::test {

struct TlsBackendOptions {
  TestCertificate certificate;
  std::string client_ca = {};     ///< PEM; given: a client must have a certificate of it
  std::string alpn = {};          ///< what it chooses where that is offered; empty: nothing
  bool needs_alpn = false;        ///< ends the handshake where that is not offered
  int max_version = 0;            ///< e.g. TLS1_2_VERSION; 0: the latest
  unsigned tickets = 2;           ///< behind a full handshake of TLS 1.3
  std::string ciphersuites = {};  ///< of TLS 1.3, OpenSSL's names; empty: its default
  std::string cipher_list = {};   ///< of TLS 1.2
  std::function<void(SSL_CTX* context)> configure = {};  ///< at last, what the others do not say
};

/// What a connection does once it has shaken hands; its end is a FIN behind what was sent.
using TlsServe = std::function<void(SSL* ssl)>;

/// For Backend. A handshake that fails ends the connection. What two backends serve by one of these
/// shares its sessions.
Backend::Serve over_tls(TlsBackendOptions options, TlsServe serve);

/// Sends back what it receives; at close_notify answers with its own.
void echo_over_tls(SSL* ssl);

/// Writes down what it receives, up to its end: kFin is a close_notify, kReset anything else. Sends
/// nothing.
void listen_over_tls(SSL* ssl, Transcript& transcript);

}  // namespace sallyport::test
