#include "ktls/trust/credentials.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ktls/trust/credentials_loader.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// The INTEGER of a serial of PeerTrust::Link, which has only its DER content: serial_bytes() of at
// most 64 bytes.
Asn1IntegerPtr to_integer(const std::string& content) {
  std::string der{'\x02', static_cast<char>(content.size())};
  der += content;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  return Asn1IntegerPtr(d2i_ASN1_INTEGER(nullptr, &at, static_cast<long>(der.size())));
}

// Adds `at` to the earliest expiry of (role, name).
void add_expiry(std::vector<Expiry>& expiries, std::string_view role, const std::string& name,
                std::chrono::sys_seconds at) {
  const auto known = std::ranges::find_if(
      expiries, [&](const Expiry& expiry) { return expiry.role == role && expiry.name == name; });
  if (known == expiries.end()) {
    expiries.push_back({role, name, at});
  } else {
    known->at = std::min(known->at, at);
  }
}

}  // namespace

std::string_view to_string(CertificateFact::Role role) noexcept {
  return role == CertificateFact::Role::kServer ? "server" : "ca";
}

Credentials::~Credentials() = default;

std::expected<std::shared_ptr<const Credentials>, CredentialsError> Credentials::load(
    const CredentialFiles& files, HandshakeSettings settings) {
  return CredentialsLoader(std::move(settings)).load(files);
}

bool Credentials::has_unscoped_trust() const noexcept {
  return std::ranges::any_of(anchors_, &Anchor::unscoped);
}

std::vector<std::string> Credentials::trust_domains() const {
  std::vector<std::string> domains;
  for (const Anchor& anchor : anchors_)
    domains.insert(domains.end(), anchor.domains.begin(), anchor.domains.end());
  std::ranges::sort(domains);
  const auto rest = std::ranges::unique(domains);
  domains.erase(rest.begin(), rest.end());
  return domains;
}

Credentials::Vouches Credentials::vouches(const Sha256& anchor_key,
                                          const PeerIdentity& identity) const {
  const auto anchor = std::ranges::lower_bound(anchors_, anchor_key, {}, &Anchor::key);
  if (anchor == anchors_.end() || anchor->key != anchor_key) return Vouches::kNothing;
  if (anchor->unscoped) return Vouches::kEverything;
  const bool listed =
      !identity.spiffe.empty() &&
      std::ranges::find(anchor->domains, identity.trust_domain()) != anchor->domains.end();
  return listed ? Vouches::kSpiffeOnly : Vouches::kNothing;
}

HandshakeResult Credentials::revalidate(const PeerTrust& trust,
                                        std::chrono::sys_seconds now) const {
  using enum HandshakeResult;
  const Vouches vouched = vouches(trust.anchor_key, trust.identity);
  if (vouched == Vouches::kNothing) return kCertificateAuthorityInvalid;
  if (vouched == Vouches::kSpiffeOnly && !trust.identity.dns.empty())
    return kCertificateAuthorityInvalid;
  if (now >= trust.not_after) return kCertificateExpired;  // as OpenSSL counts
  if (crls_.empty()) return kSuccess;

  for (const PeerTrust::Link& link : trust.links) {
    const Asn1IntegerPtr serial = to_integer(link.serial);
    if (!serial) return kCertificateMalformed;
    HandshakeResult covered = kCrlUnavailable;
    for (const Crl& crl : crls_) {
      if (crl.issuer != link.issuer || crl.this_update > now) continue;
      X509_REVOKED* entry = nullptr;
      // 2 means removeFromCRL, which only delta CRLs have (RFC 5280 5.3.1).
      if (X509_CRL_get0_by_serial(crl.crl.get(), &entry, serial.get()) == 1)
        return kCertificateRevoked;
      const bool fresh = settings_.accept_expired_crl || !crl.next_update || now < *crl.next_update;
      if (fresh) {
        covered = kSuccess;
      } else if (covered != kSuccess) {
        covered = kCrlExpired;
      }
    }
    if (covered != kSuccess) return covered;
  }
  return kSuccess;
}

std::chrono::sys_seconds Credentials::own_not_after() const {
  auto earliest = std::chrono::sys_seconds::max();
  for (const CertificateFact& fact : certificates_)
    if (fact.leaf) earliest = std::min(earliest, fact.not_after);
  return earliest;
}

std::vector<Expiry> Credentials::certificate_expiries() const {
  std::vector<Expiry> expiries;
  for (const CertificateFact& fact : certificates_)
    add_expiry(expiries, to_string(fact.role), fact.name, fact.not_after);
  return expiries;
}

std::vector<Expiry> Credentials::crl_next_updates() const {
  std::vector<Expiry> expiries;
  for (const CrlFact& fact : crl_facts_)
    if (fact.next_update) add_expiry(expiries, "crl", fact.name, *fact.next_update);
  return expiries;
}

}  // namespace sallyport::ktls
