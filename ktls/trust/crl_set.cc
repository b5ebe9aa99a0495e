#include "ktls/trust/crl_set.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/time_text.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

bool has_expired(const Crl& crl, std::chrono::sys_seconds now) {
  return crl.next_update() && now >= *crl.next_update();  // as OpenSSL counts
}

std::string dates_of(const Crl& crl) {
  std::string text = time_text(crl.this_update());
  if (crl.next_update()) text += ", the next due " + time_text(*crl.next_update());
  return text;
}

// How many keys a list remembers that have not signed it. An issuer of one name has few: those from
// before and after it was re-keyed.
constexpr std::size_t kMaxOthers = 16;

bool contains(const std::vector<Sha256>& keys, const Sha256& key) {
  return std::ranges::find(keys, key) != keys.end();
}

}  // namespace

void CrlSet::add(Crl crl, std::vector<Sha256> signers) {
  lists_.push_back({.crl = std::move(crl), .signers = std::move(signers), .others = {}});
}

void CrlSet::learn_issuers(const STACK_OF(X509) * chain,
                           std::span<const PeerTrust::Link> links) const {
  int depth = 0;
  for (const PeerTrust::Link& link : links) {
    const X509* const issuer = sk_X509_value(chain, ++depth);
    if (issuer != nullptr && link.crl_key)
      issuers_->remember({.name = link.issuer, .key = *link.crl_key}, issuer);
  }
}

void CrlSet::learn_issuer(const IssuerKeys::Issuer& issuer,
                          std::vector<std::byte> public_key) const {
  issuers_->remember(issuer, std::move(public_key));
}

std::optional<std::vector<std::byte>> CrlSet::issuer_key(const Sha256& hash) const {
  return issuers_->public_key(hash);
}

void CrlSet::share_issuers(const CrlSet& other) const {
  issuers_ = other.issuers_;
  for (const IssuerKeys::Issuer& each : issuers_->known()) find_lists_of(each);
}

void CrlSet::find_lists_of(const IssuerKeys::Issuer& issuer) const {
  std::vector<List*> unknown;
  {
    const std::shared_lock lock(mutex_);
    for (List& list : lists_)
      if (list.crl.issuer() == issuer.name && !contains(list.signers, issuer.key) &&
          !contains(list.others, issuer.key))
        unknown.push_back(&list);
  }
  if (unknown.empty()) return;
  const EvpPkeyPtr key = issuers_->find(issuer.key);
  if (!key) return;
  std::vector<bool> good;
  good.reserve(unknown.size());
  for (const List* list : unknown) good.push_back(list->crl.is_signed_by(key.get()));
  // All of them at once: an older list must not count for a moment without the later one.
  const std::unique_lock lock(mutex_);
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    std::vector<Sha256>& keys = good[i] ? unknown[i]->signers : unknown[i]->others;
    if (!contains(keys, issuer.key)) keys.push_back(issuer.key);
    if (!good[i] && keys.size() > kMaxOthers) keys.erase(keys.begin());
  }
}

HandshakeResult CrlSet::check(const PeerTrust::Link& link, std::chrono::sys_seconds now) const {
  using enum HandshakeResult;
  const Asn1IntegerPtr serial = serial_of(link.serial);
  if (!serial) {
    (void)OpensslError::drain();
    return kCertificateMalformed;
  }
  if (link.crl_key) find_lists_of({.name = link.issuer, .key = *link.crl_key});
  bool complete = false;  // one in force
  bool partial = false;   // one in force for a distribution point
  bool expired = false;
  bool expired_partial = false;
  const std::shared_lock lock(mutex_);
  for (const List& list : lists_) {
    if (!speaks_of(list, link, now) || is_superseded(list, link, now)) continue;
    if (list.crl.has_entry(serial.get())) return kCertificateRevoked;
    const bool is_partial = !list.crl.scope().points.empty();
    if (accept_expired_ || !has_expired(list.crl, now)) {
      (is_partial ? partial : complete) = true;
    } else {
      expired = true;
      expired_partial = expired_partial || is_partial;
    }
  }
  if (complete || (partial && !expired_partial)) return kSuccess;
  return expired ? kCrlExpired : kCrlUnavailable;
}

std::string CrlSet::explain(const PeerTrust::Link& link, std::chrono::sys_seconds now) const {
  const Asn1IntegerPtr serial = serial_of(link.serial);
  if (!serial) {
    (void)OpensslError::drain();
    return "no INTEGER";
  }
  if (link.crl_key) find_lists_of({.name = link.issuer, .key = *link.crl_key});
  const List* decides = nullptr;  // one in force, rather than one that has lapsed
  const std::shared_lock lock(mutex_);
  for (const List& list : lists_) {
    if (!speaks_of(list, link, now) || is_superseded(list, link, now)) continue;
    if (list.crl.has_entry(serial.get())) return "named by the list of " + dates_of(list.crl);
    if (decides == nullptr || has_expired(decides->crl, now)) decides = &list;
  }
  if (decides == nullptr) return "no list of its issuer speaks of it";
  return (has_expired(decides->crl, now) ? "not named by the lapsed list of "
                                         : "not named by the list of ") +
         dates_of(decides->crl);
}

bool CrlSet::speaks_of(const List& list, const PeerTrust::Link& link,
                       std::chrono::sys_seconds now) {
  return list.crl.issuer() == link.issuer && list.crl.this_update() <= now && link.crl_key &&
         contains(list.signers, *link.crl_key) && list.crl.scope().includes(link);
}

bool CrlSet::is_superseded(const List& list, const PeerTrust::Link& link,
                           std::chrono::sys_seconds now) const {
  return std::ranges::any_of(lists_, [&](const List& other) {
    return other.crl.this_update() > list.crl.this_update() && !has_expired(other.crl, now) &&
           speaks_of(other, link, now) && other.crl.scope() == list.crl.scope();
  });
}

}  // namespace sallyport::ktls
