// Any bytes as a certificate: what comes out as an identity is well-formed, whatever the SANs held.
#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ktls/trust/certificate_message.h"
#include "ktls/trust/crl_scope.h"
#include "ktls/trust/identity.h"

namespace {

using namespace sallyport::ktls;

#define REQUIRE(condition) \
  if (!(condition)) __builtin_trap()

bool is_dns_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

void check(const PeerIdentity& identity) {
  REQUIRE(!identity.display().empty());
  if (!identity.spiffe.empty()) {
    REQUIRE(identity.spiffe.starts_with("spiffe://"));
    REQUIRE(identity.spiffe.size() <= 2048);
    REQUIRE(identity.spiffe.find('%') == std::string::npos);
    REQUIRE(!identity.trust_domain().empty());
    const std::string path = identity.spiffe.substr(std::string_view("spiffe://").size() +
                                                    identity.trust_domain().size());
    REQUIRE(path.find("/../") == std::string::npos && path.find("//") == std::string::npos);
    // What was normalised once stays as it is.
    const auto again = normalise_spiffe_id(identity.spiffe);
    REQUIRE(again.has_value() && *again == identity.spiffe);
  }
  for (const std::string& name : identity.dns) {
    REQUIRE(is_dns_name(name));
    REQUIRE(normalise_dns_name(name) == name);
    REQUIRE(std::ranges::count(identity.dns, name) == 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::uint8_t* at = data;
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      d2i_X509(nullptr, &at, static_cast<long>(size)), &X509_free);
  if (certificate) {
    const auto identity = identify(certificate.get());
    if (identity) check(*identity);
    REQUIRE(crl_points(certificate.get()).size() <= 8);
    // What may be decoded is as OpenSSL reads it, too.
    X509_ALGOR* algorithm = nullptr;
    X509_PUBKEY_get0_param(nullptr, nullptr, nullptr, &algorithm,
                           X509_get_X509_PUBKEY(certificate.get()));
    const ASN1_OBJECT* name = nullptr;
    int parameters = V_ASN1_UNDEF;
    X509_ALGOR_get0(&name, &parameters, nullptr, algorithm);
    const int kind = OBJ_obj2nid(name);
    if (kind != NID_rsassaPss && kind != NID_dsa &&
        has_plain_key(std::as_bytes(std::span(data, size))))
      REQUIRE(parameters == V_ASN1_OBJECT || parameters == V_ASN1_NULL ||
              parameters == V_ASN1_UNDEF);
  }
  // The same bytes as a name that a certificate might hold: most inputs are no certificate.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto spiffe = normalise_spiffe_id(text);
  if (spiffe) check(PeerIdentity{*spiffe, {}});
  const std::string dns = normalise_dns_name(text);
  if (!dns.empty()) check(PeerIdentity{{}, {dns}});
  ERR_clear_error();
  return 0;
}
