#pragma once

#include <openssl/types.h>

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {

/// The identity in a verified certificate: its SAN entries by type, never its subject. Both members
/// are well-formed; entries that are not are left out or refused.
struct PeerIdentity {
  /// "spiffe://trust-domain/path": scheme and trust domain in lower case, path byte for byte.
  /// Empty: none.
  std::string spiffe;
  /// DNS SANs in lower case, in the order of the certificate, none twice. No wildcards.
  std::vector<std::string> dns;

  /// The trust domain of `spiffe`, or empty.
  std::string_view trust_domain() const noexcept;

  /// The text for logs and /connections: the SPIFFE ID, else the first DNS name as "dns:NAME", else
  /// "-".
  std::string display() const;

  bool operator==(const PeerIdentity&) const = default;
};

/// Reads the identity from the SANs of `certificate`, which the caller verifies before or after.
/// Without a usable SAN it is empty, which is no error.
///
/// The error is a text: why the certificate has a SPIFFE URI but no SPIFFE identity, or why its
/// SANs cannot be read. The handshake result is then certificate_malformed: two URI SANs of which
/// one is SPIFFE; CA:TRUE; a keyUsage with keyCertSign or cRLSign, or without digitalSignature
/// (X.509-SVID 4.3); no path (X.509-SVID 5.2); longer than 2048 bytes; a trust domain or path with
/// characters that the SPIFFE ID specification (2.1, 2.2) does not allow, percent signs included;
/// an empty, "." or ".." segment.
std::expected<PeerIdentity, std::string> identify(const X509* certificate);

/// Whether a URI claims to be a SPIFFE ID: it has the scheme, in any case, well-formed or not.
bool claims_spiffe(std::string_view uri) noexcept;

/// Checks and normalises a SPIFFE ID by the rules above, or that of a trust domain, which has no
/// path. Public for patterns' tests and fuzzers.
std::expected<std::string, std::string> normalise_spiffe_id(std::string_view uri);

/// Checks and lower-cases a DNS name: letters, digits, hyphens, labels of 1 to 63 bytes, at most
/// 253 in all. Empty if it is no identity.
std::string normalise_dns_name(std::string_view name);

}  // namespace sallyport::ktls
