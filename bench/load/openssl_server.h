// OpenSSL's server side, for a backend that speaks mutual TLS.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "bench/load/openssl_free.h"
#include "bench/load/stream.h"

namespace sallyport::bench {

enum class Sessions {
  kResumed,  // stateless tickets, OpenSSL's default number
  kNone,     // every handshake is a full one
};

/// TLS 1.3 with TLS_AES_256_GCM_SHA384 and X25519. Wants a certificate of the client and has it
/// prove its key, but verifies no chain: this side is not under test, and must not be its limit.
class OpensslServer {
 public:
  /// PEM files; dies when one cannot be used.
  OpensslServer(const std::string& certificate, const std::string& key, Sessions sessions);

  /// A stream over a connected, non-blocking socket that outlives it, which waits for a
  /// ClientHello.
  std::unique_ptr<Stream> stream(int descriptor);

 private:
  Owned<SSL_CTX> context_;
  std::array<std::byte, 64 << 10> buffer_;
};

}  // namespace sallyport::bench
