#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// One step of a judgement, for people: what was looked at and what was found.
struct JudgementStep {
  /// "chain", "validity", "revocation", "trust domain", "identity", "rule"; static storage.
  std::string_view subject;
  bool passed = true;
  std::string finding;  ///< may hold text of the peer, not made printable
};
using JudgementSteps = std::vector<JudgementStep>;

/// What a peer's trust is worth under credentials at a time: every part is judged, also behind one
/// that fails, since a live connection may fail one of them and go on.
struct TrustVerdict {
  /// kCertificateAuthorityInvalid: no anchor of its name and key is in force, or that does not
  /// vouch for it. kCertificateExpired, kCertificateNotYetValid: the anchor's certificates are out
  /// of their dates.
  HandshakeResult anchor = HandshakeResult::kSuccess;
  HandshakeResult validity = HandshakeResult::kSuccess;  ///< kCertificateExpired: below the anchor
  /// kCertificateRevoked if any certificate is; else kCertificateMalformed, kCrlUnavailable or
  /// kCrlExpired of the first one that does not pass.
  HandshakeResult revocation = HandshakeResult::kSuccess;
  std::size_t depth = 0;  ///< of the certificate that `revocation` is about: 0 for the leaf

  /// As a full handshake would have it.
  [[nodiscard]] HandshakeResult result() const noexcept {
    if (anchor != HandshakeResult::kSuccess) return anchor;
    if (validity != HandshakeResult::kSuccess) return validity;
    return revocation;
  }
  [[nodiscard]] bool passed() const noexcept { return result() == HandshakeResult::kSuccess; }
};

}  // namespace sallyport::ktls
