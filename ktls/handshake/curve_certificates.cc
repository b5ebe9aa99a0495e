#include "ktls/handshake/curve_certificates.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "ktls/handshake/client_hello.h"

namespace sallyport::ktls {
namespace {

struct Curve {
  std::string_view name;  ///< OpenSSL's
  std::uint16_t scheme;
  std::uint16_t group;
};

// RFC 8446 4.2.3 ties each curve to a hash.
constexpr Curve kCurves[] = {
    {"prime256v1", 0x0403, 23}, {"secp384r1", 0x0503, 24}, {"secp521r1", 0x0603, 25}};

bool can_verify(const CurveCertificates::Client& client, std::uint16_t scheme,
                std::uint16_t group) {
  if (client.version == RecordVersion::kTls13)
    return lists_code_point(client.signature_algorithms, scheme);
  // Any of the hashes then, but only curves that it supports (RFC 8422 5.1.1).
  return lists_code_point(client.supported_groups, group) &&
         std::ranges::any_of(kCurves, [&client](const Curve& curve) {
           return lists_code_point(client.signature_algorithms, curve.scheme);
         });
}

}  // namespace

void CurveCertificates::add(Certificate certificate) {
  std::array<char, 64> name{};
  (void)EVP_PKEY_get_group_name(certificate.key.get(), name.data(), name.size(), nullptr);
  Entry entry{.certificate = std::move(certificate)};
  const auto* const curve = std::ranges::find(kCurves, std::string_view(name.data()), &Curve::name);
  if (curve != std::end(kCurves)) {
    entry.scheme = curve->scheme;
    entry.group = curve->group;
  }
  entries_.push_back(std::move(entry));
}

bool CurveCertificates::choose(SSL* ssl, const Client& client) const {
  if (!several()) return true;
  const auto fitting = std::ranges::find_if(entries_, [&client](const Entry& entry) {
    return can_verify(client, entry.scheme, entry.group);
  });
  if (fitting == entries_.begin() || fitting == entries_.end()) return true;
  const Certificate& chosen = fitting->certificate;
  return SSL_use_cert_and_key(ssl, chosen.leaf.get(), chosen.key.get(), chosen.chain.get(), 1) == 1;
}

}  // namespace sallyport::ktls
