#pragma once

#include <openssl/x509.h>

#include <expected>
#include <string>
#include <vector>

#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The certificates of its issuer that a CRL speaks of (RFC 5280 5.2.5).
struct CrlScope {
  bool user_certificates = true;
  bool ca_certificates = true;
  /// The names of its distribution point, as in PeerTrust::Link::crl_points; empty: all
  /// certificates of these kinds.
  std::vector<NameHash> points;

  bool operator==(const CrlScope&) const = default;

  /// Whether a certificate is in the scope. One that names no distribution point is in the scope of
  /// every point, see CrlSet::check().
  bool includes(const PeerTrust::Link& link) const noexcept;
};

/// The scope of a CRL, for one that can be honoured in full. Otherwise the text of an error that
/// names the extension: a delta CRL, an indirect one, one of some reasons or of attribute
/// certificates only, a contradictory or empty scope, a critical extension of list or entry that is
/// not known here, an entry of another issuer or with removeFromCRL, an extension that bears on the
/// meaning of the list and is there twice or cannot be decoded.
std::expected<CrlScope, std::string> read_crl_scope(X509_CRL* crl);

/// PeerTrust::Link::crl_points of a certificate.
std::vector<NameHash> crl_points(const X509* certificate);

}  // namespace sallyport::ktls
