#include "ktls/trust/peer_trust.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>

#include "ktls/base/ascii.h"
#include "ktls/base/openssl_handles.h"
#include "ktls/base/wire.h"
#include "ktls/trust/crl_scope.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

constexpr std::uint8_t kVersion = 5;

// Bits of a link's first byte.
constexpr std::uint8_t kCa = 1;
constexpr std::uint8_t kCrlKeyIsAnchors = 2;
constexpr std::uint8_t kHasCrlKey = 4;  // a key of its own follows

// The text as RFC 5280 7.1 compares it: lower case (ASCII), no outer blanks, one for each inner
// run.
std::string fold(std::string_view text) {
  std::string result;
  bool blank = false;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      blank = true;
      continue;
    }
    if (blank && !result.empty()) result += ' ';
    blank = false;
    result += ascii_lower(c);
  }
  return result;
}

std::string attribute_text(const ASN1_STRING* value) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, value);
  if (size < 0) {  // not text: its bytes as they are
    (void)OpensslError::drain();
    return std::string(asn1_view(value));
  }
  std::string text = fold({reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size)});
  OPENSSL_free(utf8);
  return text;
}

void put_time(WireWriter& out, std::chrono::sys_seconds time) {
  out.u64(static_cast<std::uint64_t>(time.time_since_epoch().count()));
}

std::chrono::sys_seconds take_time(WireReader& in) {
  return std::chrono::sys_seconds(std::chrono::seconds(static_cast<std::int64_t>(in.u64())));
}

void put_trust(WireWriter& out, const PeerTrust& trust) {
  out.u8(kVersion);
  out.text(trust.identity.spiffe);
  out.u16(trust.identity.dns.size());
  for (const std::string& name : trust.identity.dns) out.text(name);
  out.raw(std::as_bytes(std::span(trust.anchor_name)));
  out.raw(std::as_bytes(std::span(trust.anchor_key)));
  out.u8(static_cast<std::uint8_t>(trust.links.size()));
  for (const PeerTrust::Link& link : trust.links) {
    const bool anchors = link.crl_key == trust.anchor_key;
    const bool own = link.crl_key && !anchors;
    out.u8(static_cast<std::uint8_t>((link.ca ? kCa : 0) | (anchors ? kCrlKeyIsAnchors : 0) |
                                     (own ? kHasCrlKey : 0)));
    out.raw(std::as_bytes(std::span(link.issuer)));
    out.text(link.serial);
    if (own) out.raw(std::as_bytes(std::span(*link.crl_key)));
    out.u8(static_cast<std::uint8_t>(link.crl_points.size()));
    for (const NameHash& point : link.crl_points) out.raw(std::as_bytes(std::span(point)));
  }
  put_time(out, trust.not_after);
  out.text(trust.leaf.subject);
  out.text(trust.leaf.issuer);
  put_time(out, trust.leaf.not_before);
  put_time(out, trust.leaf.not_after);
}

std::optional<PeerTrust> take_trust(WireReader& in) {
  if (in.u8() != kVersion) return std::nullopt;
  PeerTrust trust;
  trust.identity.spiffe = in.text();
  for (std::size_t left = in.u16(); left > 0 && in.good(); --left)
    trust.identity.dns.emplace_back(in.text());
  in.raw(std::as_writable_bytes(std::span(trust.anchor_name)));
  in.raw(std::as_writable_bytes(std::span(trust.anchor_key)));
  for (std::size_t left = in.u8(); left > 0 && in.good(); --left) {
    PeerTrust::Link& link = trust.links.emplace_back();
    const std::uint8_t bits = in.u8();
    if (bits > kHasCrlKey + kCa) return std::nullopt;  // a bit that is unknown, or two keys
    link.ca = (bits & kCa) != 0;
    in.raw(std::as_writable_bytes(std::span(link.issuer)));
    link.serial = in.text();
    if ((bits & kCrlKeyIsAnchors) != 0) link.crl_key = trust.anchor_key;
    if ((bits & kHasCrlKey) != 0) {
      in.raw(std::as_writable_bytes(std::span(link.crl_key.emplace())));
      if (*link.crl_key == trust.anchor_key) return std::nullopt;  // has a bit of its own
    }
    for (std::size_t points = in.u8(); points > 0 && in.good(); --points)
      in.raw(std::as_writable_bytes(std::span(link.crl_points.emplace_back())));
  }
  trust.not_after = take_time(in);
  trust.leaf.subject = in.text();
  trust.leaf.issuer = in.text();
  trust.leaf.not_before = take_time(in);
  trust.leaf.not_after = take_time(in);
  if (!in.good()) return std::nullopt;
  return trust;
}

}  // namespace

std::size_t Sha256Hash::operator()(const Sha256& digest) const noexcept {
  std::size_t hash = 0;
  std::memcpy(&hash, digest.data(), sizeof hash);
  return hash;
}

std::size_t PeerTrustHash::operator()(const PeerTrust& trust) const noexcept {
  std::size_t result = std::hash<std::string>{}(trust.identity.spiffe);
  for (const PeerTrust::Link& link : trust.links)
    result = result * 31 + std::hash<std::string>{}(link.serial);
  return result;
}

std::vector<std::byte> public_key_der(const X509* certificate) {
  const X509_PUBKEY* const key = X509_get_X509_PUBKEY(certificate);
  const int size = i2d_X509_PUBKEY(key, nullptr);
  if (size < 0) std::abort();  // cannot happen: the key was decoded from such DER
  std::vector<std::byte> der(static_cast<std::size_t>(size));
  unsigned char* out = raw(der.data());
  if (i2d_X509_PUBKEY(key, &out) != size) std::abort();
  return der;
}

EvpPkeyPtr decode_public_key(std::span<const std::byte> der) {
  const unsigned char* in = raw(der.data());
  EvpPkeyPtr key(d2i_PUBKEY(nullptr, &in, static_cast<long>(der.size())));
  (void)OpensslError::drain();
  if (in != raw(der.data()) + der.size()) return nullptr;
  return key;
}

Sha256 public_key_hash(const X509* certificate) {
  return sha256(public_key_der(certificate));
}

NameHash name_hash(const X509_NAME* name) {
  WireWriter out;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    const ASN1_OBJECT* type = X509_NAME_ENTRY_get_object(entry);
    out.u32(static_cast<std::uint32_t>(X509_NAME_ENTRY_set(entry)));  // which RDN it belongs to
    const std::string text = attribute_text(X509_NAME_ENTRY_get_data(entry));
    out.u32(static_cast<std::uint32_t>(OBJ_length(type)));
    out.raw(std::as_bytes(std::span(OBJ_get0_data(type), OBJ_length(type))));
    out.u32(static_cast<std::uint32_t>(text.size()));
    out.raw(std::as_bytes(std::span(text)));
  }
  return name_hash(out.bytes());
}

NameHash name_hash(std::span<const std::byte> encoded) {
  return sha256(encoded);
}

bool may_sign_crls(const X509* issuer) {
  return (X509_get_key_usage(const_cast<X509*>(issuer)) & KU_CRL_SIGN) != 0;  // all bits for none
}

std::vector<std::byte> PeerTrust::serialise() const {
  WireWriter out;
  put_trust(out, *this);
  return std::move(out).take();
}

std::optional<PeerTrust> PeerTrust::parse(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  std::optional<PeerTrust> trust = take_trust(in);
  if (!in.at_end()) return std::nullopt;
  return trust;
}

PeerTrust::Link make_link(const X509* certificate) {
  PeerTrust::Link link;
  link.issuer = name_hash(X509_get_issuer_name(certificate));
  link.serial = serial_bytes(X509_get0_serialNumber(certificate));
  link.ca = (X509_get_extension_flags(const_cast<X509*>(certificate)) & EXFLAG_CA) != 0;
  link.crl_points = crl_points(certificate);
  return link;
}

PeerTrust make_peer_trust(const STACK_OF(X509) * chain, PeerIdentity identity) {
  const int size = sk_X509_num(chain);
  if (size < 1) std::abort();
  PeerTrust trust;
  trust.identity = std::move(identity);
  const X509* anchor = sk_X509_value(chain, size - 1);
  trust.anchor_name = name_hash(X509_get_subject_name(anchor));
  trust.anchor_key = public_key_hash(anchor);
  trust.not_after = std::chrono::sys_seconds::max();
  const X509* leaf = sk_X509_value(chain, 0);
  trust.leaf = {.subject = name_text(X509_get_subject_name(leaf)),
                .issuer = name_text(X509_get_issuer_name(leaf)),
                .not_before = to_time(X509_get0_notBefore(leaf)),
                .not_after = to_time(X509_get0_notAfter(leaf))};
  for (int i = 0; i < size; ++i) {
    // An anchor needs no CRL, and its dates are judged by its bundle. One that is the peer's own
    // certificate is a leaf as every other.
    if (i == size - 1 && size > 1) break;
    const X509* certificate = sk_X509_value(chain, i);
    trust.not_after = std::min(trust.not_after, to_time(X509_get0_notAfter(certificate)));
    const X509* issuer = sk_X509_value(chain, std::min(i + 1, size - 1));
    PeerTrust::Link& link = trust.links.emplace_back(make_link(certificate));
    if (may_sign_crls(issuer)) link.crl_key = public_key_hash(issuer);
  }
  return trust;
}

}  // namespace sallyport::ktls
