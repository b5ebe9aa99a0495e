#include "ktls/trust/presented_certificate.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/identity.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

constexpr std::string_view kDnsPrefix = "dns:";

}  // namespace

std::string cut(std::string_view text) {
  std::size_t end = std::min(text.size(), PresentedCertificate::kMaxBytes);
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  if (end < text.size())
    while (end > 0 && continues(end)) --end;
  return std::string(text.substr(0, end));
}

PresentedCertificate presented(const X509* leaf) {
  PresentedCertificate result;
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  if (!names) (void)OpensslError::drain();  // none, or not to be decoded
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI && result.spiffe.empty()) {
      const std::string_view uri = asn1_view(name->d.uniformResourceIdentifier);
      if (claims_spiffe(uri)) result.spiffe = cut(uri);
    } else if (name->type == GEN_DNS && result.dns.size() < PresentedCertificate::kMaxNames) {
      result.dns.push_back(cut(std::string(kDnsPrefix) += asn1_view(name->d.dNSName)));
    }
  }
  result.subject = name_text(X509_get_subject_name(leaf));
  result.serial = cut(serial_text(X509_get0_serialNumber(leaf)));
  result.issuer = name_text(X509_get_issuer_name(leaf));
  result.not_after = to_time(X509_get0_notAfter(leaf));
  return result;
}

PresentedCertificate presented(const PeerTrust& trust) {
  PresentedCertificate result;
  result.spiffe = cut(trust.identity.spiffe);
  for (const std::string& name : trust.identity.dns) {
    if (result.dns.size() == PresentedCertificate::kMaxNames) break;
    result.dns.push_back(cut(std::string(kDnsPrefix) += name));
  }
  result.subject = trust.leaf.subject;
  if (!trust.links.empty()) result.serial = serial_text(trust.links.front().serial);
  result.issuer = trust.leaf.issuer;
  result.not_after = trust.leaf.not_after;
  result.verified = true;
  return result;
}

}  // namespace sallyport::ktls
