#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/keys/suite.h"
#include "ktls/trust/ca_names.h"
#include "ktls/trust/credentials_error.h"
#include "ktls/trust/crl_number.h"
#include "ktls/trust/crl_scope.h"
#include "ktls/trust/crl_set.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/judgement.h"
#include "ktls/trust/peer_trust.h"
#include "ktls/trust/tickets.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {

/// Files as the command line names them.
struct CredentialFiles {
  /// Equal paths: a bundle of both, in any order, which obeys the rules of a key.
  struct Pair {
    std::string cert;           ///< PEM: leaf first, then its intermediates
    std::string key;            ///< PEM, unencrypted; under the rules of key_file.h
    std::string given_as = {};  ///< in messages; empty: --cert and --key, or --credentials
  };
  struct Trust {
    std::optional<std::string> domain;  ///< SPIFFE trust domain that this bundle vouches for
    /// PEM, or a directory (files_of()): self-signed roots anchor, others help building; see
    /// partial_chain
    std::string file;
  };
  std::vector<Pair> pairs;  ///< one per kind of key (EC of each curve, RSA, Ed25519)
  std::vector<Trust> ca;
  std::vector<std::string> crls;           ///< PEM or DER, one or more in a file, or directories
  std::string trust_given_as = {};         ///< in messages; empty: --ca and --crl
  std::optional<std::string> ticket_keys;  ///< see TicketSecrets::load()
  /// Neither `pairs` nor `ticket_keys` are opened: to judge clients, not to serve them.
  bool trust_only = false;
};

struct HandshakeSettings {
  bool accept_expired_crl = false;
  ClientEku client_eku = ClientEku::kIfPresent;
  bool partial_chain = false;  ///< every certificate of the bundles anchors
  RecordVersion min_version = RecordVersion::kTls13;
  /// TLS 1.3 names; empty: OpenSSL's own, in its order. TLS 1.2 takes the suites with their AEADs.
  std::vector<std::string> ciphersuites;
  /// OpenSSL's list; empty: X25519MLKEM768 where OpenSSL has it, X25519, P-256.
  std::string groups;
  unsigned tickets = 1;  ///< per full handshake; 0 = no resumption
  /// Since the last full handshake; zero: no ticket is accepted, as with tickets = 0.
  std::chrono::seconds ticket_max_age{std::chrono::hours(8)};
  /// --openssl-tuning: handshakes may use OpenSSL beyond its public API (tls_library()).
  bool tuned_openssl = true;
  /// Used without a ticket_keys file; the process keeps it, so that tickets outlive a reload.
  /// Null: a random one for this generation alone.
  std::shared_ptr<const TicketSecrets> process_tickets;
};

/// The facts of a certificate of ours: for readiness, /credentials and metrics.
struct CertificateFact {
  enum class Role { kServer, kCa };
  Role role = Role::kServer;
  std::string name;  ///< the file as configured
  std::string subject, issuer;
  NameHash subject_name{}, issuer_name{};  ///< by which names are compared
  Sha256 public_key{};                     ///< public_key_hash()
  std::string serial;                      ///< hexadecimal
  std::vector<std::string> names;          ///< alternative_names()
  std::string key;                         ///< "EC P-256", "RSA 2048", "Ed25519"
  std::string fingerprint;                 ///< SHA-256 of the DER, hexadecimal
  std::chrono::sys_seconds not_before, not_after;
  bool authority = false;  ///< it may issue others
  bool anchor = false;     ///< of kCa: an anchor, not only an intermediate for building chains
  bool leaf = false;       ///< of kServer: the leaf, not an intermediate
  bool serves = true;      ///< its extended key usage lets it be a server's
  bool calls = true;       ///< and a client's
  bool spiffe = false;     ///< it has a SPIFFE identity
  std::optional<std::string> trust_domain;  ///< of kCa
};

/// "server" or "ca": the metric label.
std::string_view to_string(CertificateFact::Role role) noexcept;

struct CrlFact {
  std::string name;  ///< the file as configured
  std::string issuer;
  NameHash issuer_name{};       ///< by which names are compared
  std::vector<Sha256> signers;  ///< public_key_hash() of each key among the bundles that signed it
  CrlScope scope;
  std::optional<CrlNumber> number;
  std::chrono::sys_seconds this_update;
  std::optional<std::chrono::sys_seconds> next_update;
  std::size_t revoked = 0;  ///< entries
};

/// What a file was given for and how much of that it holds. A file that is given twice has two.
struct FileFact {
  std::string name;         ///< the file as configured
  std::string option;       ///< "--cert", "--key", "--credentials", "--ca", "--crl", ...; or the
                            ///< key of the policy file
  std::string_view object;  ///< "certificate", "private key", "CRL", "ticket secret"
  std::size_t count = 0;    ///< objects that were read
};

/// How long something of a file holds, for two metrics.
struct Expiry {
  std::string_view role;           ///< "server", "ca"; "crl" for CRLs
  std::string name;                ///< the file; see Credentials::certificate_expiries()
  std::chrono::sys_seconds since;  ///< notBefore, or thisUpdate, of what expires at `at`
  std::chrono::sys_seconds at;
};

/// Adds an expiry, of whose role and name the earliest counts.
void add_earliest(std::vector<Expiry>& expiries, Expiry expiry);

/// A generation of certificates, keys, trust, CRLs and TLS settings: checked as a whole, shared by
/// all shards and threads, and immutable but for the signers that its CrlSet learns, under a lock.
/// Each shard makes contexts of its own from it.
class Credentials {
 public:
  /// Reads and checks everything: files parse, keys belong to their certificates and obey the file
  /// rules, at least one anchor per bundle, CRLs of a scope that can be honoured (read_crl_scope())
  /// and signed by the issuer they name where that is among the bundles. Dates are not looked at:
  /// what has expired refuses connections, and shows in certificates() and crls(). Blocks on file
  /// IO: not for a shard's thread. With `of_same_trust`, whose bundles, CRLs and settings are
  /// these, its trust is shared instead of read.
  static std::expected<std::shared_ptr<const Credentials>, CredentialsError> load(
      const CredentialFiles& files, HandshakeSettings settings = {},
      const Credentials* of_same_trust = nullptr);

  ~Credentials();
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  /// SHA-256 over the sorted trust bundles with their scopes and the verify settings: equal on
  /// every gateway with the same trust, whatever its leaf, CRLs and policy.
  const Sha256& trust_digest() const noexcept { return trust_->digest; }

  /// Whether it is one object: see load().
  bool shares_trust_with(const Credentials& other) const noexcept { return trust_ == other.trust_; }

  /// Whether a bundle has no trust domain. (Beside rules of several trust domains: an error of the
  /// configuration.)
  bool has_unscoped_trust() const noexcept;
  /// Domains of the scoped bundles, sorted, none twice.
  std::vector<std::string> trust_domains() const;

  /// The names of all certificates of the bundles.
  const CaNames& ca_names() const noexcept { return trust_->ca_names; }

  /// The identities that an anchor may vouch for.
  enum class Vouches { kNothing, kSpiffeOnly, kEverything };
  /// Whether the anchor with this key vouches for the SPIFFE ID's domain (kSpiffeOnly: by a scoped
  /// bundle, so DNS names must be left out), or for everything (an unscoped bundle).
  Vouches vouches(const Sha256& anchor_key, const PeerIdentity& identity) const;

  /// Judges the facts of an earlier verification under these credentials at `now`. The result is
  /// that of a full handshake. For handshakes, tickets, cached chains and live connections; some
  /// microseconds. Adds its steps to `steps`, if given. A trust anchor needs no CRL, but is revoked
  /// by one of its own. kCrlUnavailable also stands for the list of an issuer that is in no bundle
  /// and whose key no full handshake of this process has shown, see share_issuers().
  TrustVerdict judge(const PeerTrust& trust, std::chrono::sys_seconds now,
                     JudgementSteps* steps = nullptr) const;
  /// The same for a chain that has just been verified, leaf first, and its trust. Verifies the
  /// signatures of its issuers' lists that are not known yet.
  TrustVerdict judge(const STACK_OF(X509) * chain, const PeerTrust& trust,
                     std::chrono::sys_seconds now) const;

  /// Shares with another generation what chains of clients have shown, and will, of issuers that
  /// are in no bundle: see CrlSet::share_issuers(). Before others use it.
  void share_issuers(const Credentials& other) const {
    trust_->crls.share_issuers(other.trust_->crls);
  }

  /// What share_issuers() is about, for a gateway that judges in another one's stead: see CrlSet.
  /// Any thread.
  void learn_issuer(const IssuerKeys::Issuer& issuer, std::vector<std::byte> public_key) const {
    trust_->crls.learn_issuer(issuer, std::move(public_key));
  }
  std::optional<std::vector<std::byte>> issuer_key(const Sha256& hash) const {
    return trust_->crls.issuer_key(hash);
  }

  /// Whether a client that asks for `host` finds it in a leaf that we present (RFC 6125 6.4). Of a
  /// domain with a dot in front: whether some name of one more label is found.
  bool presents(const std::string& host) const;

  /// Earliest notAfter among the leaves that we present.
  std::chrono::sys_seconds own_not_after() const;
  const std::vector<CertificateFact>& certificates() const noexcept { return certificates_; }
  const std::vector<CrlFact>& crls() const noexcept { return trust_->crl_facts; }
  /// In the order in which they were read.
  const std::vector<FileFact>& files() const noexcept { return file_facts_; }
  /// For certificate_expiry_timestamp_seconds{role,name} and its not_before: the earliest notAfter
  /// of each file of ours, and that of each anchor in use. An anchor is a key: of its certificates
  /// that of the latest notAfter counts, and it is in use if that was valid at load, or if no
  /// anchor's was. Its name is its file, or "FILE: SUBJECT, serial SERIAL" if that holds several in
  /// use.
  std::vector<Expiry> certificate_expiries() const;
  /// For crl_next_update_timestamp_seconds{name} and its this_update: the earliest of each file.
  std::vector<Expiry> crl_next_updates() const;

  /// What was accepted and deserves a warning, each with its file.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

  const HandshakeSettings& settings() const noexcept { return settings_; }

  // For the contexts of handshakes.

  /// A certificate that we present, with the others of its file, and its key.
  struct KeyPair {
    std::string cert_file, key_file;
    X509Ptr leaf;
    std::vector<X509Ptr> chain;
    EvpPkeyPtr key;
  };
  const std::vector<KeyPair>& pairs() const noexcept { return pairs_; }
  struct TrustedCertificate {
    X509Ptr certificate;
    std::optional<std::string> domain;
    bool anchor = false;
  };
  /// One object for all credentials that share their trust.
  const std::vector<TrustedCertificate>& trusted() const noexcept { return trust_->trusted; }
  /// Null: no resumption.
  const TicketSecrets* tickets() const noexcept { return tickets_.get(); }

 private:
  friend class CredentialsLoader;

  struct Anchor {
    Sha256 key{};
    bool unscoped = false;
    std::vector<std::string> domains;
    struct Certificate {
      NameHash name{};
      std::chrono::sys_seconds not_before, not_after;
      PeerTrust::Link link;  ///< as CRLs of its own name it
    };
    std::vector<Certificate> certificates;  ///< of this key
  };
  /// What clients are judged by. Shared by credentials that differ in what we present.
  struct Trust {
    std::vector<TrustedCertificate> trusted;
    std::vector<Anchor> anchors;  ///< sorted by key
    CaNames ca_names;
    CrlSet crls;
    Sha256 digest{};
    std::vector<CertificateFact> certificates;
    std::vector<Expiry> anchor_expiries;
    std::vector<CrlFact> crl_facts;
    std::vector<FileFact> file_facts;
    std::vector<std::string> warnings;
  };

  Credentials() = default;
  void add_steps(const PeerTrust& trust, std::chrono::sys_seconds now, const TrustVerdict& verdict,
                 JudgementSteps& steps) const;
  JudgementStep anchor_step(const PeerTrust& trust, std::chrono::sys_seconds now) const;
  void add_revocation_steps(const PeerTrust& trust, std::chrono::sys_seconds now,
                            const TrustVerdict& verdict, JudgementSteps& steps) const;
  JudgementStep domain_step(const PeerTrust& trust) const;
  const Anchor* find_anchor(const Sha256& key) const;
  HandshakeResult judge_anchor(const PeerTrust& trust, std::chrono::sys_seconds now) const;
  void judge_revocation(const PeerTrust& trust, std::chrono::sys_seconds now,
                        TrustVerdict& verdict) const;

  std::vector<KeyPair> pairs_;
  std::shared_ptr<const Trust> trust_;
  std::shared_ptr<const TicketSecrets> tickets_;  ///< null: no resumption
  HandshakeSettings settings_;
  std::vector<CertificateFact> certificates_;
  std::vector<FileFact> file_facts_;
  std::vector<std::string> warnings_;
};

}  // namespace sallyport::ktls
