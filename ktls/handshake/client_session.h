#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <optional>

#include "ktls/base/openssl_handles.h"
#include "ktls/keys/suite.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// A session with a server, for ClientTerms of a later connection: OpenSSL's part, and the facts
/// by which the server was verified in the full handshake that it goes back to. Holds secrets.
struct ClientSession {
  SslSessionPtr session;  ///< never null; OpenSSL's part of one connection at a time
  std::shared_ptr<const PeerTrust> trust;     ///< never null
  std::chrono::sys_seconds authenticated_at;  ///< when that full handshake was
  std::chrono::sys_seconds expires_at;        ///< not to be offered from then on
  RecordVersion version = RecordVersion::kTls13;
};

/// What the latest ticket of `ssl`, a client's, is worth at `now`; in TLS 1.2 also its session
/// identifier. It expires with the lifetime that the server gave it, with the server's certificates
/// and seven days after the full handshake, whichever is first, however often it is renewed.
/// Nothing: the server gave none, or none that can be kept.
std::optional<ClientSession> latest_session(SSL* ssl, std::shared_ptr<const PeerTrust> trust,
                                            std::chrono::sys_seconds authenticated_at,
                                            std::chrono::sys_seconds now);

}  // namespace sallyport::ktls
