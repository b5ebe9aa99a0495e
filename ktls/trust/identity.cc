#include "ktls/trust/identity.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "ktls/base/ascii.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/base/spiffe.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

constexpr std::size_t kMaxDnsName = 253;  // RFC 1035 2.3.4, without the root's dot
constexpr std::size_t kMaxDnsLabel = 63;

// What the SPIFFE X.509-SVID specification forbids in a leaf (4.1, 4.3); nothing: it is a leaf.
std::optional<std::string> why_no_leaf(const X509* certificate) {
  // OpenSSL computes flags and usage on demand and keeps them in the certificate.
  X509* const cached = const_cast<X509*>(certificate);
  const std::uint32_t flags = X509_get_extension_flags(cached);
  if ((flags & EXFLAG_CA) != 0) return "SPIFFE ID in a certificate with CA:TRUE";
  if ((flags & EXFLAG_KUSAGE) == 0) return std::nullopt;
  const std::uint32_t usage = X509_get_key_usage(cached);
  if ((usage & KU_KEY_CERT_SIGN) != 0) return "SPIFFE ID in a certificate with keyCertSign";
  if ((usage & KU_CRL_SIGN) != 0) return "SPIFFE ID in a certificate with cRLSign";
  if ((usage & KU_DIGITAL_SIGNATURE) == 0)
    return "SPIFFE ID in a certificate whose keyUsage has no digitalSignature";
  return std::nullopt;
}

}  // namespace

std::string_view PeerIdentity::trust_domain() const noexcept {
  if (spiffe.empty()) return {};
  const std::string_view rest = std::string_view(spiffe).substr(kSpiffeScheme.size());
  return rest.substr(0, rest.find('/'));
}

std::string PeerIdentity::display() const {
  if (!spiffe.empty()) return spiffe;
  if (!dns.empty()) return "dns:" + dns.front();
  return "-";
}

bool claims_spiffe(std::string_view uri) noexcept {
  return std::ranges::equal(uri.substr(0, 7), std::string_view("spiffe:"), {},
                            [](char c) { return ascii_lower(c); });
}

std::expected<std::string, std::string> normalise_spiffe_id(std::string_view uri) {
  if (uri.size() > kMaxSpiffeIdBytes) return std::unexpected("SPIFFE ID longer than 2048 bytes");
  if (ascii_lower(uri.substr(0, kSpiffeScheme.size())) != kSpiffeScheme)
    return std::unexpected("SPIFFE ID does not start with spiffe://");
  const std::string_view rest = uri.substr(kSpiffeScheme.size());
  const std::string_view domain = rest.substr(0, rest.find('/'));
  std::string_view path = rest.substr(domain.size());

  if (domain.empty()) return std::unexpected("SPIFFE ID without a trust domain");
  if (domain.size() > kMaxTrustDomainBytes)
    return std::unexpected("trust domain longer than 255 bytes");
  if (!is_spiffe_text(domain))
    return std::unexpected("trust domain with a character that is not allowed");

  std::string result(kSpiffeScheme);
  result += ascii_lower(domain);
  result += path;
  while (!path.empty()) {
    path.remove_prefix(1);  // its slash
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment.empty()) return std::unexpected("SPIFFE ID with an empty path segment");
    if (is_dot_segment(segment)) return std::unexpected("SPIFFE ID with a . or .. segment");
    if (segment.contains('%')) return std::unexpected("SPIFFE ID with a percent sign");
    if (!is_spiffe_text(segment))
      return std::unexpected("SPIFFE ID with a character that is not allowed");
    path.remove_prefix(segment.size());
  }
  return result;
}

std::string normalise_dns_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxDnsName) return {};
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return {};
      label = 0;
    } else if (is_ascii_letter(c) || is_ascii_digit(c) || c == '-') {
      if (++label > kMaxDnsLabel) return {};
    } else {
      return {};
    }
  }
  if (label == 0) return {};
  return ascii_lower(name);
}

std::expected<PeerIdentity, std::string> identify(const X509* certificate) {
  PeerIdentity identity;
  int answer = 0;
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &answer, nullptr)));
  if (!names) {
    if (auto why = why_not_decoded(answer, "subjectAltName"))
      return std::unexpected(*std::move(why));
    return identity;
  }

  std::size_t uris = 0;
  std::string_view claim;
  bool claimed = false;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      const std::string_view uri = asn1_view(name->d.uniformResourceIdentifier);
      ++uris;
      if (!claims_spiffe(uri)) continue;
      claimed = true;
      claim = uri;
    } else if (name->type == GEN_DNS) {
      std::string dns = normalise_dns_name(asn1_view(name->d.dNSName));
      if (dns.empty() || std::ranges::find(identity.dns, dns) != identity.dns.end()) continue;
      identity.dns.push_back(std::move(dns));
    }
  }
  if (!claimed) return identity;

  if (uris > 1) return std::unexpected("several URI SANs, one of them a SPIFFE ID");
  if (auto why = why_no_leaf(certificate)) return std::unexpected(*std::move(why));
  auto spiffe = normalise_spiffe_id(claim);
  if (!spiffe) return std::unexpected(std::move(spiffe.error()));
  if (!spiffe->substr(kSpiffeScheme.size()).contains('/'))
    return std::unexpected("SPIFFE ID without a path, which names no workload");
  identity.spiffe = std::move(*spiffe);
  return identity;
}

}  // namespace sallyport::ktls
