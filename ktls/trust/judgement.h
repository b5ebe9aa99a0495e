#pragma once

#include <cstddef>

#include "ktls/trust/handshake_result.h"
#include "ktls/trust/judgement_step.h"

namespace sallyport::ktls {

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

  // Of a peer that was let in before. A CRL that lapsed or is missing is none of these.

  [[nodiscard]] bool is_revoked() const noexcept {
    return revocation == HandshakeResult::kCertificateRevoked;
  }
  /// A serial that was let in is not malformed: facts that cannot be judged are not trusted.
  [[nodiscard]] bool is_untrusted() const noexcept {
    return anchor != HandshakeResult::kSuccess ||
           revocation == HandshakeResult::kCertificateMalformed;
  }
  [[nodiscard]] bool has_expired() const noexcept { return validity != HandshakeResult::kSuccess; }
};

}  // namespace sallyport::ktls
