#pragma once

#include <openssl/x509.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "ktls/trust/crl.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/issuer_keys.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// The CRLs of one generation of credentials. They alone decide on revocation, in full handshakes
/// as in resumed ones. OpenSSL's own check needs the certificates, which a ticket does not hold,
/// and two checks would differ where lists are unusual.
///
/// A list counts only for certificates of a key that is known to have signed it.
class CrlSet {
 public:
  /// Not beside other calls. `signers`: public_key_hash() of each key that has signed the list, as
  /// far as they are known.
  void add(Crl crl, std::vector<Sha256> signers);
  /// Whether lists past their nextUpdate are used. Not beside other calls.
  void accept_expired(bool accept) noexcept { accept_expired_ = accept; }

  bool empty() const noexcept { return lists_.empty(); }

  /// Remembers the keys of a chain's issuers, which its lists are signed with: issuers that only
  /// clients send are not known before. `chain` has been verified, leaf first; `links` are those of
  /// its PeerTrust. Any thread.
  void learn_issuers(const STACK_OF(X509) * chain, std::span<const PeerTrust::Link> links) const;
  /// The same of an issuer whose key another process has seen, see IssuerKeys. Any thread.
  void learn_issuer(const IssuerKeys::Issuer& issuer, std::vector<std::byte> public_key) const;
  /// For learn_issuer(), by its hash; nothing: not known. Any thread.
  std::optional<std::vector<std::byte>> issuer_key(const Sha256& hash) const;
  /// Shares the issuers that another set has seen or will see: a client that it has let in is
  /// judged by the lists of this one at once. Verifies the signatures of those that have been seen:
  /// who judges a live connection has no time for that. Not beside other calls.
  void share_issuers(const CrlSet& other) const;

  /// Whether the certificate passes at `now`: kSuccess, kCertificateRevoked, kCrlUnavailable,
  /// kCrlExpired; kCertificateMalformed for a serial that is no INTEGER. Any thread.
  ///
  /// A list speaks of the certificate if its issuer has signed it, the certificate is in its scope
  /// and its thisUpdate is past. It counts unless a later list of the same scope is in force. Any
  /// list that counts can revoke. One complete list in force is enough to pass; without one, all of
  /// those for a distribution point have to be in force, since a certificate that names no point
  /// may belong to any of them.
  HandshakeResult check(const PeerTrust::Link& link, std::chrono::sys_seconds now) const;
  /// The list that check() decides by, in words. Any thread.
  std::string explain(const PeerTrust::Link& link, std::chrono::sys_seconds now) const;

 private:
  struct List {
    Crl crl;
    // Guarded by mutex_.
    std::vector<Sha256> signers;
    std::vector<Sha256> others;  // keys of issuers of the same name that have not signed it
  };

  // Finds the lists that the issuer of a certificate has signed. A signature is checked once per
  // list and key, which takes 10 ms for a list of 14 MB: failures are remembered, too, the last few
  // of each list.
  void find_lists_of(const IssuerKeys::Issuer& issuer) const;

  // With mutex_ held.
  static bool speaks_of(const List& list, const PeerTrust::Link& link,
                        std::chrono::sys_seconds now);
  bool is_superseded(const List& list, const PeerTrust::Link& link,
                     std::chrono::sys_seconds now) const;

  mutable std::shared_mutex mutex_;
  mutable std::vector<List> lists_;
  mutable std::shared_ptr<IssuerKeys> issuers_ = std::make_shared<IssuerKeys>();
  bool accept_expired_ = false;
};

}  // namespace sallyport::ktls
