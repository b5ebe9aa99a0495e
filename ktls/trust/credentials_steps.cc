// The steps of a judgement by Credentials, in words.
#include <algorithm>
#include <string>

#include "ktls/base/hex.h"
#include "ktls/base/time_text.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

bool passed(HandshakeResult result) {
  return result == HandshakeResult::kSuccess;
}

}  // namespace

void Credentials::add_steps(const PeerTrust& trust, std::chrono::sys_seconds now,
                            const TrustVerdict& verdict, JudgementSteps& steps) const {
  steps.push_back(anchor_step(trust, now));
  steps.push_back(
      {"validity", passed(verdict.validity),
       "the first certificate below the anchor expires at " + time_text(trust.not_after)});
  add_revocation_steps(trust, now, verdict, steps);
  steps.push_back(domain_step(trust));
  steps.push_back({"identity", true, trust.identity.display()});
}

JudgementStep Credentials::anchor_step(const PeerTrust& trust, std::chrono::sys_seconds now) const {
  const auto is_anchor = [&trust](const CertificateFact& fact) {
    return fact.anchor && fact.public_key == trust.anchor_key &&
           fact.subject_name == trust.anchor_name;
  };
  const auto in_dates = [now](const CertificateFact& fact) {
    return fact.not_before <= now && now < fact.not_after;
  };
  const CertificateFact* found = nullptr;
  for (const CertificateFact& fact : certificates_)
    if (is_anchor(fact) && (found == nullptr || in_dates(fact))) found = &fact;
  if (found == nullptr)
    return {"chain", false,
            "no anchor of this name with key " + encode_hex(trust.anchor_key) + " is in force"};
  return {"chain", in_dates(*found),
          found->subject + " of " + found->name + ", from " + time_text(found->not_before) +
              " to " + time_text(found->not_after)};
}

void Credentials::add_revocation_steps(const PeerTrust& trust, std::chrono::sys_seconds now,
                                       const TrustVerdict& verdict, JudgementSteps& steps) const {
  if (trust_->crls.empty()) return steps.push_back({"revocation", true, "no list is asked for"});
  for (const PeerTrust::Link& link : trust.links) {
    const HandshakeResult result = trust_->crls.check(link, now);
    steps.push_back(
        {"revocation", passed(result),
         "serial " + serial_text(link.serial) + ": " + trust_->crls.explain(link, now)});
  }
  const bool of_anchor = verdict.depth == trust.links.size() && !passed(verdict.revocation);
  if (of_anchor) steps.push_back({"revocation", false, "the anchor is revoked by its own list"});
}

JudgementStep Credentials::domain_step(const PeerTrust& trust) const {
  switch (vouches(trust.anchor_key, trust.identity)) {
    case Vouches::kEverything:
      return {"trust domain", true, "the anchor's bundle vouches for every name"};
    case Vouches::kSpiffeOnly:
      if (trust.identity.dns.empty())
        return {"trust domain", true,
                "the anchor's bundle vouches for " + std::string(trust.identity.trust_domain())};
      [[fallthrough]];
    case Vouches::kNothing:
      break;
  }
  return {"trust domain", false, "no bundle with this anchor vouches for the identity"};
}

}  // namespace sallyport::ktls
