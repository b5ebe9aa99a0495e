#pragma once

#include <openssl/x509.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ktls/base/intern_pool.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/trust/identity.h"

namespace sallyport::ktls {

using Sha256 = std::array<std::uint8_t, 32>;
/// For maps: its first bytes.
struct Sha256Hash {
  std::size_t operator()(const Sha256& digest) const noexcept;
};

/// A certificate's SubjectPublicKeyInfo.
std::vector<std::byte> public_key_der(const X509* certificate);
/// Null if `der` is none, whole and alone, of a kind of key that OpenSSL knows.
EvpPkeyPtr decode_public_key(std::span<const std::byte> der);
/// SHA-256 of a certificate's SubjectPublicKeyInfo in DER: the name of an anchor, which stays the
/// same when its certificate is renewed.
Sha256 public_key_hash(const X509* certificate);

/// A name as a fixed-size value: equal for names that RFC 5280 7.1 calls equal (case and inner
/// blanks of text do not count), however their strings are encoded. SHA-256 over its attributes, in
/// their order: the number of its RelativeDistinguishedName, the DER content of its type and its
/// folded UTF-8 text, the latter two behind their lengths; all numbers are of four bytes, big
/// endian.
using NameHash = Sha256;
NameHash name_hash(const X509_NAME* name);
/// Of a name that is compared byte by byte, a distribution point's: SHA-256 of its encoding.
NameHash name_hash(std::span<const std::byte> encoded);

/// Whether the key usage of an issuer allows its key to sign CRLs (RFC 5280 4.2.1.3).
bool may_sign_crls(const X509* issuer);

/// The facts by which a peer was verified, without any certificate: enough to judge it again later.
/// Computed once, at the full handshake; travels in tickets and stays with the connection.
/// Interned, so equal ones share one object. The time of the full handshake differs between
/// connections of one peer and is therefore kept beside it (Outcome::authenticated_at).
struct PeerTrust {
  /// A certificate below the anchor, as CRLs name it, and what decides on which CRLs speak of it.
  struct Link {
    NameHash issuer{};
    std::string serial;  ///< DER content bytes of the INTEGER
    /// public_key_hash() of its issuer, by which its CRLs have to be signed. None if the issuer may
    /// not sign them.
    std::optional<Sha256> crl_key = std::nullopt;
    bool ca = false;  ///< whether it is a CA certificate itself
    /// Hashes of the names of its distribution points, see crl_points(); empty: it has none.
    std::vector<NameHash> crl_points = {};
    bool operator==(const Link&) const = default;
  };

  PeerIdentity identity;
  NameHash anchor_name{};   ///< of the anchor's subject
  Sha256 anchor_key{};      ///< public_key_hash() of the anchor
  std::vector<Link> links;  ///< leaf first; without the anchor, unless it is the leaf
  /// The earliest of these certificates: the anchor's own dates are those of the bundle in force.
  std::chrono::sys_seconds not_after;

  /// Of the peer's own certificate, for logs and /connections; decides nothing. Texts of
  /// name_text().
  struct Leaf {
    std::string subject, issuer;
    std::chrono::sys_seconds not_before{}, not_after{};
    bool operator==(const Leaf&) const = default;
  };
  Leaf leaf = {};

  bool operator==(const PeerTrust&) const = default;

  /// The bytes of a versioned form of our own, for parse().
  std::vector<std::byte> serialise() const;
  /// Nothing if `bytes` are not a whole PeerTrust of this version, or have more behind it.
  static std::optional<PeerTrust> parse(std::span<const std::byte> bytes);
};

/// A certificate as a link, without its crl_key.
PeerTrust::Link make_link(const X509* certificate);

/// Facts of a chain that was just verified: `chain` is leaf first, anchor last, at least one long.
/// `identity` is the part of the leaf's identity that its anchor vouches for.
PeerTrust make_peer_trust(const STACK_OF(X509) * chain, PeerIdentity identity);

struct PeerTrustHash {
  std::size_t operator()(const PeerTrust& trust) const noexcept;
};
using PeerTrustPool = InternPool<PeerTrust, PeerTrustHash>;

}  // namespace sallyport::ktls
