#include "ktls/trust/credentials.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ktls/trust/credentials_loader.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {

void add_earliest(std::vector<Expiry>& expiries, Expiry expiry) {
  const auto known = std::ranges::find_if(expiries, [&expiry](const Expiry& other) {
    return other.role == expiry.role && other.name == expiry.name;
  });
  if (known == expiries.end()) {
    expiries.push_back(std::move(expiry));
  } else if (expiry.at < known->at) {
    *known = std::move(expiry);
  }
}

std::string_view to_string(CertificateFact::Role role) noexcept {
  return role == CertificateFact::Role::kServer ? "server" : "ca";
}

Credentials::~Credentials() = default;

std::expected<std::shared_ptr<const Credentials>, CredentialsError> Credentials::load(
    const CredentialFiles& files, HandshakeSettings settings, const Credentials* of_same_trust) {
  return CredentialsLoader(std::move(settings)).load(files, of_same_trust);
}

bool Credentials::has_unscoped_trust() const noexcept {
  return std::ranges::any_of(trust_->anchors, &Anchor::unscoped);
}

std::vector<std::string> Credentials::trust_domains() const {
  std::vector<std::string> domains;
  for (const Anchor& anchor : trust_->anchors)
    domains.insert(domains.end(), anchor.domains.begin(), anchor.domains.end());
  std::ranges::sort(domains);
  const auto rest = std::ranges::unique(domains);
  domains.erase(rest.begin(), rest.end());
  return domains;
}

const Credentials::Anchor* Credentials::find_anchor(const Sha256& key) const {
  const auto anchor = std::ranges::lower_bound(trust_->anchors, key, {}, &Anchor::key);
  return anchor != trust_->anchors.end() && anchor->key == key ? &*anchor : nullptr;
}

Credentials::Vouches Credentials::vouches(const Sha256& anchor_key,
                                          const PeerIdentity& identity) const {
  const Anchor* const anchor = find_anchor(anchor_key);
  if (anchor == nullptr) return Vouches::kNothing;
  if (anchor->unscoped) return Vouches::kEverything;
  const bool listed =
      !identity.spiffe.empty() &&
      std::ranges::find(anchor->domains, identity.trust_domain()) != anchor->domains.end();
  return listed ? Vouches::kSpiffeOnly : Vouches::kNothing;
}

TrustVerdict Credentials::judge(const PeerTrust& trust, std::chrono::sys_seconds now,
                                JudgementSteps* steps) const {
  using enum HandshakeResult;
  TrustVerdict verdict;
  verdict.anchor = judge_anchor(trust, now);
  if (now >= trust.not_after) verdict.validity = kCertificateExpired;  // as OpenSSL counts
  judge_revocation(trust, now, verdict);
  if (steps != nullptr) add_steps(trust, now, verdict, *steps);
  return verdict;
}

// One of the anchor's certificates in force is enough: a renewal has its name and key.
HandshakeResult Credentials::judge_anchor(const PeerTrust& trust,
                                          std::chrono::sys_seconds now) const {
  using enum HandshakeResult;
  const Vouches vouched = vouches(trust.anchor_key, trust.identity);
  if (vouched == Vouches::kNothing ||
      (vouched == Vouches::kSpiffeOnly && !trust.identity.dns.empty()))
    return kCertificateAuthorityInvalid;
  HandshakeResult result = kCertificateAuthorityInvalid;
  for (const Anchor::Certificate& each : find_anchor(trust.anchor_key)->certificates) {
    if (each.name != trust.anchor_name) continue;
    if (now < each.not_before) {
      if (result == kCertificateAuthorityInvalid) result = kCertificateNotYetValid;
    } else if (now >= each.not_after) {
      result = kCertificateExpired;  // as OpenSSL counts
    } else {
      return kSuccess;
    }
  }
  return result;
}

TrustVerdict Credentials::judge(const STACK_OF(X509) * chain, const PeerTrust& trust,
                                std::chrono::sys_seconds now) const {
  if (!trust_->crls.empty()) trust_->crls.learn_issuers(chain, trust.links);
  return judge(trust, now);
}

void Credentials::judge_revocation(const PeerTrust& trust, std::chrono::sys_seconds now,
                                   TrustVerdict& verdict) const {
  using enum HandshakeResult;
  if (trust_->crls.empty()) return;
  std::size_t depth = 0;
  for (const PeerTrust::Link& link : trust.links) {
    const HandshakeResult result = trust_->crls.check(link, now);
    if (result == kCertificateRevoked || verdict.revocation == kSuccess) {
      verdict.revocation = result;
      verdict.depth = depth;
    }
    if (result == kCertificateRevoked) return;
    ++depth;
  }
  // A renewed anchor stays while one of its certificates in force does.
  const Anchor* const anchor = find_anchor(trust.anchor_key);
  if (anchor == nullptr) return;
  bool any = false;
  for (const Anchor::Certificate& each : anchor->certificates) {
    if (each.name != trust.anchor_name || now < each.not_before || now >= each.not_after) continue;
    any = true;
    if (trust_->crls.check(each.link, now) != kCertificateRevoked) return;
  }
  if (!any) return;  // out of their dates: that is judge_anchor()'s
  verdict.revocation = kCertificateRevoked;
  verdict.depth = depth;
}

bool Credentials::presents(const std::string& host) const {
  return std::ranges::any_of(pairs_, [&](const KeyPair& pair) {
    return X509_check_host(pair.leaf.get(), host.c_str(), host.size(),
                           X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS, nullptr) == 1;
  });
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
    if (fact.role == CertificateFact::Role::kServer)
      add_earliest(expiries, {to_string(fact.role), fact.name, fact.not_before, fact.not_after});
  expiries.insert(expiries.end(), trust_->anchor_expiries.begin(), trust_->anchor_expiries.end());
  return expiries;
}

std::vector<Expiry> Credentials::crl_next_updates() const {
  std::vector<Expiry> expiries;
  for (const CrlFact& fact : trust_->crl_facts)
    if (fact.next_update)
      add_earliest(expiries, {"crl", fact.name, fact.this_update, *fact.next_update});
  return expiries;
}

}  // namespace sallyport::ktls
