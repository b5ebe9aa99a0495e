#include "gateway/run/credentials_review.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "gateway/observe/timestamp.h"

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

// By issuer and key; but the signers of a list may not be known before a client sends its issuer.
bool may_cover(const CrlFact& crl, const CertificateFact& issuer) {
  return crl.issuer_name == issuer.subject_name &&
         (crl.signers.empty() ||
          std::ranges::find(crl.signers, issuer.public_key) != crl.signers.end());
}

class CredentialsReview {
 public:
  CredentialsReview(const ktls::Credentials& credentials, Time now, PresentedTo whom)
      : credentials_(credentials), now_(now), whom_(whom) {
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

  // What two certificates have in common is said once.
  void add(Effect effect, std::string text) {
    Finding finding{effect, std::move(text)};
    if (std::ranges::find(findings_, finding) == findings_.end())
      findings_.push_back(std::move(finding));
  }

  // Our own certificates. A client takes any of them, so one that is good serves some clients.
  void review_own();
  void review_chain(const CertificateFact& leaf);
  std::string why_refused(const CertificateFact& leaf) const;
  const CertificateFact* find_trusted(const ktls::NameHash& subject) const;

  void review_trusted();

  void review_crls();
  void review_issuers();
  bool is_lapsed(const CrlFact& crl) const { return crl.next_update && *crl.next_update <= now_; }
  bool is_superseded(const CrlFact& crl) const;
  std::string why_uncovered(const CertificateFact& issuer) const;
  bool admits(const CertificateFact& issuer, std::size_t depth) const;
  Facts intermediates_of(const CertificateFact& issuer) const;

  const ktls::Credentials& credentials_;
  Time now_;
  PresentedTo whom_;
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
    if (ends_soon(fact->not_before, fact->not_after, now_)) {
      add(Effect::kNoneYet, described(*fact) + " expires at " + rfc3339(fact->not_after));
    }
    if (whom_.backends && !fact->calls)
      add(Effect::kRefusesSome, described(*fact) +
                                    " is no client's certificate: its extended key usage lacks "
                                    "clientAuth: backends that ask for one refuse it");
    review_chain(*fact);
  }
  const Effect effect = refused.size() == leaves ? Effect::kRefusesAll : Effect::kRefusesSome;
  for (std::string& text : refused) add(effect, std::move(text));
}

// The certificates behind a leaf in its file. A client may know others, so that nothing of them
// refuses all: one that has the missing intermediate needs none of ours, and one that has a newer
// root does not mind an old cross-signed copy that has expired.
void CredentialsReview::review_chain(const CertificateFact& leaf) {
  const CertificateFact* last = &leaf;
  for (std::size_t step = 0; step < own_.size(); ++step) {
    if (last->issuer_name == last->subject_name) return;
    const auto issuer = std::ranges::find_if(own_, [&](const CertificateFact* fact) {
      return !fact->leaf && fact->name == leaf.name && fact->subject_name == last->issuer_name;
    });
    if (issuer == own_.end()) break;
    last = *issuer;
    if (std::string why = outside_dates(*last, now_); !why.empty()) {
      add(Effect::kRefusesSome, described(*last) + " " + why);
    } else if (ends_soon(last->not_before, last->not_after, now_)) {
      add(Effect::kNoneYet, described(*last) + " expires at " + rfc3339(last->not_after));
    }
  }
  const CertificateFact* const issuer = find_trusted(last->issuer_name);
  if (issuer != nullptr && !issuer->anchor) {
    add(Effect::kRefusesSome,
        described(*last) + " lacks its intermediate " + last->issuer +
            " behind it in the file: clients that do not have that refuse us");
  } else if (issuer == nullptr && last->leaf) {
    add(Effect::kNoneYet, described(leaf) + " stands alone in its file: clients must know " +
                              leaf.issuer + "; an intermediate belongs behind it");
  }
}

// Why a client refuses the leaf that we present; empty: it does not.
std::string CredentialsReview::why_refused(const CertificateFact& leaf) const {
  if (std::string why = outside_dates(leaf, now_); !why.empty()) return why;
  if (whom_.clients && !leaf.serves)
    return "is no server's certificate: its extended key usage lacks serverAuth";
  return {};
}

// An anchor rather than its cross-signed copy.
const CertificateFact* CredentialsReview::find_trusted(const ktls::NameHash& subject) const {
  const CertificateFact* found = nullptr;
  for (const CertificateFact* fact : trusted_) {
    if (fact->subject_name != subject) continue;
    if (!found || fact->anchor) found = fact;
  }
  return found;
}

void CredentialsReview::review_trusted() {
  Facts dead;
  std::set<ktls::NameHash> living;
  bool anchored = false;
  for (const CertificateFact* fact : trusted_) {
    if (!outside_dates(*fact, now_).empty()) {
      dead.push_back(fact);
      continue;
    }
    living.insert(fact->subject_name);
    anchored = anchored || fact->anchor;
    if (ends_soon(fact->not_before, fact->not_after, now_)) {
      add(Effect::kNoneYet, described(*fact) + " expires at " + rfc3339(fact->not_after));
    }
  }
  for (const CertificateFact* fact : dead) {
    // Beside a living one of its name it is the rest, or the beginning, of a renewal.
    const bool replaced = living.contains(fact->subject_name);
    const Effect effect = !anchored  ? Effect::kRefusesAll
                          : replaced ? Effect::kNoneYet
                                     : Effect::kRefusesSome;
    add(effect, described(*fact) + " " + outside_dates(*fact, now_));
  }
}

void CredentialsReview::review_crls() {
  if (credentials_.crls().empty()) return;
  review_issuers();
  const bool refuses = !credentials_.settings().accept_expired_crl;
  const auto is_told = [&](const CrlFact& crl) {
    return std::ranges::any_of(trusted_, [&](const CertificateFact* issuer) {
      return may_cover(crl, *issuer) && !why_uncovered(*issuer).empty();
    });
  };
  for (const CrlFact& crl : credentials_.crls()) {
    if (!crl.next_update || is_superseded(crl) || is_told(crl)) continue;
    const std::string list = crl.name + ": the CRL of " + crl.issuer;
    if (is_lapsed(crl)) {
      add(refuses ? Effect::kRefusesSome : Effect::kNoneYet,
          list + " lapsed at " + rfc3339(*crl.next_update) +
              (refuses ? "" : ", and is still used (--crl-expired accept)"));
    } else if (ends_soon(crl.this_update, *crl.next_update, now_)) {
      add(Effect::kNoneYet, list + " lapses at " + rfc3339(*crl.next_update));
    }
  }
}

// As CrlSet::check() has it.
bool CredentialsReview::is_superseded(const CrlFact& crl) const {
  return std::ranges::any_of(credentials_.crls(), [&](const CrlFact& other) {
    return other.this_update > crl.this_update && other.this_update <= now_ && !is_lapsed(other) &&
           other.issuer_name == crl.issuer_name && other.signers == crl.signers &&
           other.scope == crl.scope;
  });
}

// With any CRL each certificate below an anchor must be covered by its issuer's.
void CredentialsReview::review_issuers() {
  const bool some_admitted = std::ranges::any_of(trusted_, [&](const CertificateFact* fact) {
    return fact->anchor && outside_dates(*fact, now_).empty() && admits(*fact, 0);
  });
  std::set<std::pair<ktls::NameHash, ktls::Sha256>> seen;
  for (const CertificateFact* issuer : trusted_) {
    if (!issuer->authority || !outside_dates(*issuer, now_).empty()) continue;
    if (!seen.insert({issuer->subject_name, issuer->public_key}).second) continue;
    const std::string why = why_uncovered(*issuer);
    if (why.empty()) continue;
    add(some_admitted ? Effect::kRefusesSome : Effect::kRefusesAll,
        described(*issuer) + ": " + why);
  }
}

// Why clients of this issuer are refused for want of a CRL in force; empty: they are not.
std::string CredentialsReview::why_uncovered(const CertificateFact& issuer) const {
  std::string why = "has no CRL: the clients that it has issued are refused";
  for (const CrlFact& crl : credentials_.crls()) {
    if (!may_cover(crl, issuer)) continue;
    if (crl.this_update > now_) {
      why = "its CRL in " + crl.name + " is not valid before " + rfc3339(crl.this_update);
    } else if (is_lapsed(crl) && !credentials_.settings().accept_expired_crl) {
      why = "its CRL in " + crl.name + " lapsed at " + rfc3339(*crl.next_update) +
            ": the clients that it has issued are refused";
    } else {
      return {};
    }
  }
  return why;
}

// Whether a client of this issuer, or of an intermediate of it, can pass. An issuer with
// intermediates in the bundles is taken to issue nothing else, unless there are lists of others,
// which clients will send; the cross-signed copy of another anchor is no intermediate.
bool CredentialsReview::admits(const CertificateFact& issuer, std::size_t depth) const {
  if (depth > trusted_.size() || !why_uncovered(issuer).empty()) return false;
  const Facts intermediates = intermediates_of(issuer);
  const auto passes = [&](const CertificateFact* fact) {
    return outside_dates(*fact, now_).empty() && admits(*fact, depth + 1);
  };
  const auto is_of_another = [&](const CrlFact& crl) {
    return find_trusted(crl.issuer_name) == nullptr;
  };
  return intermediates.empty() || std::ranges::any_of(intermediates, passes) ||
         std::ranges::any_of(credentials_.crls(), is_of_another);
}

CredentialsReview::Facts CredentialsReview::intermediates_of(const CertificateFact& issuer) const {
  Facts found;
  std::ranges::copy_if(trusted_, std::back_inserter(found), [&](const CertificateFact* fact) {
    return fact->authority && fact->issuer_name == issuer.subject_name &&
           !find_trusted(fact->subject_name)->anchor;
  });
  return found;
}

using Routes = std::vector<const Route*>;

// How the trust of these files was given, for messages.
std::string given_as(const RouteFiles& files) {
  return files.trust ? "trust." + files.trust->name : "--ca";
}

template <class Uses>
Routes routes_that(const Policy& policy, Uses uses) {
  Routes found;
  for (const Route& route : policy.routes())
    if (!route.egress && uses(policy.files()[route.files])) found.push_back(&route);
  return found;
}

// The trust domains that this trust has to vouch for, of the clients of `routes` and of backends.
std::set<std::string> domains_of(const Policy& policy, const Routes& routes,
                                 const RouteFiles& files) {
  std::set<std::string> domains;
  for (const Route* route : routes)
    domains.insert(route->trust_domains.begin(), route->trust_domains.end());
  for (const Route& route : policy.routes()) {
    const std::optional<BackendTls>& tls = route.backend_tls;
    if (!tls || policy.files()[tls->files].trust != files.trust) continue;
    for (const IdentityPattern& pattern : tls->verify)
      if (!pattern.trust_domain().empty()) domains.emplace(pattern.trust_domain());
  }
  return domains;
}

// An unscoped bundle would let the CA of one trust domain vouch for the IDs of another.
void review_scopes(const ktls::Credentials& credentials, const std::set<std::string>& domains,
                   const RouteFiles& files, std::vector<Finding>& findings) {
  if (!credentials.has_unscoped_trust() || domains.size() < 2) return;
  std::string named;
  for (const std::string& domain : domains) named += (named.empty() ? "" : ", ") + domain;
  findings.push_back(
      {Effect::kRefusesAll,
       files.trust ? given_as(files) + ": the rules of its routes name several trust domains (" +
                         named + "), so it must say which one it vouches for: \"trust-domain\""
                   : "the rules name several trust domains (" + named +
                         "), so each --ca must say which one it vouches for: --ca "
                         "TRUST-DOMAIN=FILE"});
}

// Scoped bundles vouch for SPIFFE IDs of their domains and for nothing else.
void review_patterns(const ktls::Credentials& credentials, const Routes& routes,
                     const std::set<std::string>& needed, const RouteFiles& files,
                     std::vector<Finding>& findings) {
  if (credentials.has_unscoped_trust()) return;
  const std::vector<std::string> domains = credentials.trust_domains();
  std::set<std::string, std::less<>> unneeded(domains.begin(), domains.end());
  for (const std::string& domain : needed) unneeded.erase(domain);
  std::vector<std::string> unvouched;
  bool some_admitted = false;
  for (const Route* route : routes) {
    some_admitted = some_admitted || route->allow_any_verified;
    if (route->allow_any_verified) unneeded.clear();
    for (const IdentityPattern& pattern : route->allow) {
      if (std::ranges::find(domains, pattern.trust_domain()) != domains.end()) {
        some_admitted = true;
      } else {
        unvouched.push_back("no " + given_as(files) + " vouches for " + pattern.text() +
                            " of route " + route->name + ", which no client can have");
      }
    }
  }
  const Effect effect =
      some_admitted || routes.empty() ? Effect::kRefusesSome : Effect::kRefusesAll;
  for (std::string& text : unvouched) findings.push_back({effect, std::move(text)});
  for (const std::string& domain : unneeded) {
    const std::string place = given_as(files) + (files.trust ? "" : " " + domain + "=...");
    findings.push_back({Effect::kNoneYet, place + ": no pattern needs this trust domain"});
  }
}

void review_ca_names(const ktls::Credentials& credentials, const Routes& routes,
                     const RouteFiles& files, std::vector<Finding>& findings) {
  for (const Route* route : routes) {
    const std::size_t size = credentials.ca_names().size(allowed_domains(*route));
    if (size <= ktls::CaNames::kMost) continue;
    findings.push_back(
        {Effect::kNoneYet,
         "route " + route->name + ": the names of the CAs in " + given_as(files) +
             " that matter here have " + std::to_string(size) + " bytes, more than the " +
             std::to_string(ktls::CaNames::kMost) +
             " that clients are sent: they are sent none, and those with several certificates have "
             "to choose by themselves"});
  }
}

}  // namespace

std::vector<Finding> review_credentials(const ktls::Credentials& credentials, Time now,
                                        PresentedTo whom) {
  return CredentialsReview(credentials, now, whom).findings();
}

std::vector<Finding> review_trust(const ktls::Credentials& credentials, const Policy& policy,
                                  std::size_t files) {
  std::vector<Finding> findings;
  const RouteFiles& named = policy.files()[files];
  const Routes routes =
      routes_that(policy, [&named](const RouteFiles& each) { return each.trust == named.trust; });
  const std::set<std::string> needed = domains_of(policy, routes, named);
  review_scopes(credentials, needed, named, findings);
  if (routes.empty() && !policy.routes().empty()) return findings;
  review_patterns(credentials, routes, needed, named, findings);
  review_ca_names(credentials, routes, named, findings);
  return findings;
}

std::vector<Finding> review_names(const ktls::Credentials& credentials, const Policy& policy,
                                  std::size_t files) {
  const RouteFiles& named = policy.files()[files];
  const Routes routes = routes_that(
      policy, [&named](const RouteFiles& each) { return each.credentials == named.credentials; });
  if (routes.empty() && !policy.routes().empty()) return {};
  // Clients that go by SPIFFE IDs do not look for the server name in our certificate.
  const auto& certificates = credentials.certificates();
  if (std::ranges::any_of(certificates,
                          [](const CertificateFact& fact) { return fact.leaf && fact.spiffe; })) {
    return {};
  }
  bool some_served = routes.empty();
  std::vector<std::string> missing;
  for (const Route* route : routes) {
    some_served = some_served || route->sni.empty();
    for (const std::string& name : route->sni) {
      const bool wildcard = name.starts_with("*.");
      // Of the names that a wildcard takes some may be all that clients use.
      if (credentials.presents(wildcard ? name.substr(1) : name)) {
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

void add_new(std::vector<Finding>& all, std::vector<Finding> more) {
  for (Finding& each : more)
    if (std::ranges::find(all, each) == all.end()) all.push_back(std::move(each));
}

std::string join(const std::vector<Finding>& findings, Finding::Effect effect) {
  std::string joined;
  for (const Finding& each : findings) {
    if (each.effect == effect) joined += (joined.empty() ? "" : "; ") + each.text;
  }
  return joined;
}

}  // namespace sallyport::gateway
