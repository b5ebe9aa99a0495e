#include "gateway/run/credentials_review.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "gateway/observe/timestamp.h"
#include "ktls/base/ascii.h"

namespace sallyport::gateway {
namespace {

using ktls::CertificateFact;
using ktls::CrlFact;
using Effect = Finding::Effect;
using Time = std::chrono::sys_seconds;

// Server names that a finding names one by one.
constexpr std::size_t kNamesShown = 5;

// A lifetime is about to end in its last tenth, and never more than a month before.
bool ends_soon(Time begin, Time end, Time now) {
  const auto lead = std::min<std::chrono::seconds>((end - begin) / 10, std::chrono::days(30));
  return now >= end - lead;
}

std::string described(const CertificateFact& fact) {
  return fact.name + ": " + fact.subject;
}

// Why a certificate is outside of its dates; empty: it is not.
std::string outside_dates(const CertificateFact& fact, Time now) {
  if (now >= fact.not_after) return "expired at " + rfc3339(fact.not_after);
  if (now < fact.not_before) return "is not valid before " + rfc3339(fact.not_before);
  return {};
}

// Names are equal whatever the case of their letters (RFC 5280 7.1).
bool same_name(std::string_view one, std::string_view other) {
  return ktls::ascii_lower(one) == ktls::ascii_lower(other);
}

class CredentialsReview {
 public:
  CredentialsReview(const ktls::Credentials& credentials, Time now)
      : credentials_(credentials), now_(now) {
    for (const CertificateFact& fact : credentials.certificates()) {
      (fact.role == CertificateFact::Role::kServer ? own_ : trusted_).push_back(&fact);
    }
  }

  std::vector<Finding> findings() && {
    review_own();
    review_trusted();
    review_crls();
    return std::move(findings_);
  }

 private:
  using Facts = std::vector<const CertificateFact*>;

  void add(Effect effect, std::string text) { findings_.push_back({effect, std::move(text)}); }

  // Our own certificates. A client takes any of them, so one that is good serves some clients.
  void review_own();
  std::string why_refused(const CertificateFact& leaf) const;
  const CertificateFact& last_of_chain(const CertificateFact& leaf) const;
  const CertificateFact* find_trusted(std::string_view subject) const;

  void review_trusted();

  void review_crls();
  std::string why_uncovered(std::string_view issuer) const;
  bool admits(const CertificateFact& issuer, std::size_t depth) const;
  Facts intermediates_of(const CertificateFact& issuer) const;

  const ktls::Credentials& credentials_;
  Time now_;
  Facts own_, trusted_;
  std::vector<Finding> findings_;
};

void CredentialsReview::review_own() {
  std::vector<std::string> refused;
  std::size_t leaves = 0;
  for (const CertificateFact* fact : own_) {
    if (!fact->leaf) continue;
    ++leaves;
    std::string why = why_refused(*fact);
    if (!why.empty()) {
      refused.push_back(described(*fact) + " " + why);
      continue;
    }
    const CertificateFact& last = last_of_chain(*fact);
    if (last.leaf && !same_name(last.issuer, last.subject) &&
        find_trusted(last.issuer) == nullptr) {
      add(Effect::kNoneYet,
          described(*fact) + " stands alone in its file: clients must know " + fact->issuer);
    }
    if (ends_soon(fact->not_before, fact->not_after, now_)) {
      add(Effect::kNoneYet, described(*fact) + " expires at " + rfc3339(fact->not_after));
    }
  }
  const Effect effect = refused.size() == leaves ? Effect::kRefusesAll : Effect::kRefusesSome;
  for (std::string& text : refused) add(effect, std::move(text));
}

// Why a client refuses the leaf that we present; empty: it does not.
std::string CredentialsReview::why_refused(const CertificateFact& leaf) const {
  if (std::string why = outside_dates(leaf, now_); !why.empty()) return why;
  if (!leaf.serves) return "is no server's certificate: its extended key usage lacks serverAuth";
  const CertificateFact* issuer = find_trusted(last_of_chain(leaf).issuer);
  if (issuer && !issuer->anchor) {
    return "lacks its intermediate " + issuer->subject + ", which belongs behind it in " +
           leaf.name;
  }
  return {};
}

const CertificateFact* CredentialsReview::find_trusted(std::string_view subject) const {
  const CertificateFact* found = nullptr;
  for (const CertificateFact* fact : trusted_) {
    if (same_name(fact->subject, subject) && (!found || fact->anchor)) found = fact;
  }
  return found;
}

// Of the leaf and the certificates behind it in its file, the one whose issuer is not there.
const CertificateFact& CredentialsReview::last_of_chain(const CertificateFact& leaf) const {
  const CertificateFact* last = &leaf;
  for (std::size_t step = 0; step < own_.size(); ++step) {
    if (same_name(last->issuer, last->subject)) break;
    const auto issuer = std::ranges::find_if(own_, [&](const CertificateFact* fact) {
      return !fact->leaf && fact->name == leaf.name && same_name(fact->subject, last->issuer);
    });
    if (issuer == own_.end()) break;
    last = *issuer;
  }
  return *last;
}

void CredentialsReview::review_trusted() {
  Facts dead;
  std::set<std::string> living;
  bool anchored = false;
  for (const CertificateFact* fact : trusted_) {
    if (!outside_dates(*fact, now_).empty()) {
      dead.push_back(fact);
      continue;
    }
    living.insert(ktls::ascii_lower(fact->subject));
    anchored = anchored || fact->anchor;
    if (ends_soon(fact->not_before, fact->not_after, now_)) {
      add(Effect::kNoneYet, described(*fact) + " expires at " + rfc3339(fact->not_after));
    }
  }
  for (const CertificateFact* fact : dead) {
    // Beside a living one of its name it is the rest, or the beginning, of a renewal.
    const bool replaced = living.contains(ktls::ascii_lower(fact->subject));
    const Effect effect = replaced   ? Effect::kNoneYet
                          : anchored ? Effect::kRefusesSome
                                     : Effect::kRefusesAll;
    add(effect, described(*fact) + " " + outside_dates(*fact, now_));
  }
}

// With any CRL each certificate below an anchor must be covered by its issuer's.
void CredentialsReview::review_crls() {
  if (credentials_.crls().empty()) return;
  const bool some_admitted = std::ranges::any_of(trusted_, [&](const CertificateFact* fact) {
    return fact->anchor && outside_dates(*fact, now_).empty() && admits(*fact, 0);
  });
  std::set<std::string> seen;
  for (const CertificateFact* issuer : trusted_) {
    if (!outside_dates(*issuer, now_).empty()) continue;
    if (!seen.insert(ktls::ascii_lower(issuer->subject)).second) continue;
    const std::string why = why_uncovered(issuer->subject);
    if (why.empty()) continue;
    add(some_admitted ? Effect::kRefusesSome : Effect::kRefusesAll, issuer->subject + ": " + why);
  }
  for (const CrlFact& crl : credentials_.crls()) {
    if (!crl.next_update || *crl.next_update <= now_) continue;
    if (!ends_soon(crl.this_update, *crl.next_update, now_)) continue;
    add(Effect::kNoneYet,
        crl.name + ": the CRL of " + crl.issuer + " lapses at " + rfc3339(*crl.next_update));
  }
}

// Why clients of this issuer are refused for want of a CRL in force; empty: they are not.
std::string CredentialsReview::why_uncovered(std::string_view issuer) const {
  std::string why = "has no CRL: the clients that it has issued are refused";
  for (const CrlFact& crl : credentials_.crls()) {
    if (!same_name(crl.issuer, issuer)) continue;
    if (crl.this_update > now_) {
      why = "its CRL in " + crl.name + " is not valid before " + rfc3339(crl.this_update);
    } else if (crl.next_update && *crl.next_update <= now_ &&
               !credentials_.settings().accept_expired_crl) {
      why = "its CRL in " + crl.name + " lapsed at " + rfc3339(*crl.next_update) +
            ": the clients that it has issued are refused";
    } else {
      return {};
    }
  }
  return why;
}

// Whether a client of this issuer, or of an intermediate of it, can pass. An issuer with
// intermediates in the bundles is taken to issue nothing else; the cross-signed copy of another
// anchor is no intermediate.
bool CredentialsReview::admits(const CertificateFact& issuer, std::size_t depth) const {
  if (depth > trusted_.size() || !why_uncovered(issuer.subject).empty()) return false;
  const Facts intermediates = intermediates_of(issuer);
  return intermediates.empty() ||
         std::ranges::any_of(intermediates, [&](const CertificateFact* fact) {
           return outside_dates(*fact, now_).empty() && admits(*fact, depth + 1);
         });
}

CredentialsReview::Facts CredentialsReview::intermediates_of(const CertificateFact& issuer) const {
  Facts found;
  std::ranges::copy_if(trusted_, std::back_inserter(found), [&](const CertificateFact* fact) {
    return same_name(fact->issuer, issuer.subject) && !find_trusted(fact->subject)->anchor;
  });
  return found;
}

// An unscoped bundle would let the CA of one trust domain vouch for the IDs of another.
void review_scopes(const ktls::Credentials& credentials, const Policy& policy,
                   std::vector<Finding>& findings) {
  if (!credentials.has_unscoped_trust() || policy.trust_domains().size() < 2) return;
  std::string domains;
  for (const std::string& domain : policy.trust_domains()) {
    domains += domains.empty() ? domain : ", " + domain;
  }
  findings.push_back(
      {Effect::kRefusesAll, "the rules name several trust domains (" + domains +
                                "), so each --ca must say which one it vouches for: --ca "
                                "TRUST-DOMAIN=FILE"});
}

// Scoped bundles vouch for SPIFFE IDs of their domains and for nothing else.
void review_patterns(const ktls::Credentials& credentials, const Policy& policy,
                     std::vector<Finding>& findings) {
  if (credentials.has_unscoped_trust()) return;
  const std::vector<std::string> domains = credentials.trust_domains();
  std::set<std::string, std::less<>> unneeded(domains.begin(), domains.end());
  std::vector<std::string> unvouched;
  bool some_admitted = false;
  for (const Route& route : policy.routes()) {
    some_admitted = some_admitted || route.allow_any_verified;
    if (route.allow_any_verified) unneeded.clear();
    for (const IdentityPattern& pattern : route.allow) {
      if (std::ranges::find(domains, pattern.trust_domain()) != domains.end()) {
        unneeded.erase(std::string(pattern.trust_domain()));
        some_admitted = true;
      } else {
        unvouched.push_back("no --ca vouches for " + pattern.text() + " of route " + route.name +
                            ", which no client can have");
      }
    }
  }
  const Effect effect =
      some_admitted || policy.routes().empty() ? Effect::kRefusesSome : Effect::kRefusesAll;
  for (std::string& text : unvouched) findings.push_back({effect, std::move(text)});
  for (const std::string& domain : unneeded) {
    findings.push_back(
        {Effect::kNoneYet, "--ca " + domain + "=...: no pattern needs this trust domain"});
  }
}

void review_ca_names(const ktls::Credentials& credentials, const Policy& policy,
                     std::vector<Finding>& findings) {
  for (const Route& route : policy.routes()) {
    const std::size_t size = credentials.ca_names().size(allowed_domains(route));
    if (size <= ktls::CaNames::kMost) continue;
    findings.push_back(
        {Effect::kNoneYet,
         "route " + route.name + ": the names of the CAs in --ca that matter here have " +
             std::to_string(size) + " bytes, more than the " +
             std::to_string(ktls::CaNames::kMost) +
             " that clients are sent: they are sent none, and those with several certificates have "
             "to choose by themselves"});
  }
}

}  // namespace

std::vector<Finding> review_credentials(const ktls::Credentials& credentials, Time now) {
  return CredentialsReview(credentials, now).findings();
}

std::vector<Finding> review_trust(const ktls::Credentials& credentials, const Policy& policy) {
  std::vector<Finding> findings;
  review_scopes(credentials, policy, findings);
  review_patterns(credentials, policy, findings);
  review_ca_names(credentials, policy, findings);
  return findings;
}

std::vector<Finding> review_names(const ktls::Credentials& credentials, const Policy& policy) {
  // Clients that go by SPIFFE IDs do not look for the server name in our certificate.
  const auto& certificates = credentials.certificates();
  if (std::ranges::any_of(certificates,
                          [](const CertificateFact& fact) { return fact.leaf && fact.spiffe; })) {
    return {};
  }
  bool some_served = policy.routes().empty();
  std::vector<std::string> missing;
  for (const Route& route : policy.routes()) {
    some_served = some_served || route.sni.empty();
    for (const std::string& name : route.sni) {
      const bool wildcard = name.starts_with("*.");
      if (credentials.presents(wildcard ? "any" + name.substr(1) : name)) {
        some_served = true;
      } else {
        missing.push_back(name);
      }
    }
  }
  if (missing.empty()) return {};
  std::string text = "no certificate of ours has the server name ";
  for (std::size_t i = 0; i < std::min(missing.size(), kNamesShown); ++i) {
    text += (i > 0 ? ", " : "") + missing[i];
  }
  if (missing.size() > kNamesShown) {
    text += " (and " + std::to_string(missing.size() - kNamesShown) + " more)";
  }
  return {{some_served ? Effect::kRefusesSome : Effect::kRefusesAll,
           text + ", which routes take: clients that verify it refuse us"}};
}

std::string Finding::to_string() const {
  return place.empty() ? text : place + ": " + text;
}

std::string join(const std::vector<Finding>& findings, Finding::Effect effect) {
  std::string joined;
  for (const Finding& each : findings) {
    if (each.effect == effect) joined += (joined.empty() ? "" : "; ") + each.text;
  }
  return joined;
}

}  // namespace sallyport::gateway
