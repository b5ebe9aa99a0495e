#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/handshake/engine.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/record.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The result of a finished handshake, of either side.
struct Outcome {
  std::shared_ptr<const PeerTrust> trust;     ///< never null
  std::chrono::sys_seconds authenticated_at;  ///< of the last full handshake of this trust
  bool resumed = false;
  /// Of a client: the server asked for our certificate, whether or not it got one.
  bool certificate_requested = false;
  std::string_view version;  ///< "TLSv1.3", "TLSv1.2"; static storage, as the next two
  std::string_view cipher;   ///< OpenSSL's name: "TLS_AES_128_GCM_SHA256", in TLS 1.2 "ECDHE-..."
  std::string_view group;    ///< "X25519", "X25519MLKEM768", "P-256", ...; "other"
  std::string alpn;          ///< the protocol that was agreed upon; empty: none
  /// Secrets and sequence numbers; only in what finish() returns.
  SessionState state;
  /// Ciphertext behind the peer's Finished, from the first byte of a record on, byte-exact; only in
  /// what finish() returns.
  std::vector<std::byte> leftover;
};

// What a handshake of either role, `own`, does once its engine is at kDone.

/// `outcome` has the trust, and whether it is of an earlier handshake. Fills in what was negotiated
/// and completes the engine's secrets. False: it was not to be accepted, and the engine has failed.
[[nodiscard]] bool conclude(HandshakeEngine& engine, Role own, Outcome& outcome);

/// Behind conclude(): fails the engine, with `alert` sealed behind its output().
void refuse_concluded(HandshakeEngine& engine, Role own, const SessionState& state,
                      HandshakeFailure failure, AlertDescription alert);

/// Behind conclude(), once output() was sent or taken: moves secrets, sequence numbers and leftover
/// into `outcome`.
void hand_over(HandshakeEngine& engine, Role own, Outcome& outcome);

}  // namespace sallyport::ktls
