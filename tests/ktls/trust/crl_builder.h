#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "tests/support/pki.h"

namespace sallyport::ktls::testing {

/// Ends the program, with what OpenSSL says, where a builder of tests fails at `what`.
void must(bool good, const std::string& what);

/// An extension as openssl.cnf has it: {"issuingDistributionPoint", "critical,onlyuser:TRUE"},
/// {"1.2.3.4", "DER:0500"}.
struct ExtensionText {
  std::string name;
  std::string value;
};

/// Times are offsets from now.
struct CrlSpec {
  std::vector<std::uint64_t> serials = {};
  std::vector<std::string> odd_serials = {};  ///< see integer_of()
  std::chrono::seconds this_update = std::chrono::hours(-1);
  std::optional<std::chrono::seconds> next_update = std::chrono::hours(24);
  /// Given: times of ASN.1 in their stead, see time_of().
  std::string this_update_text = {}, next_update_text = {};
  std::vector<ExtensionText> extensions = {};
  std::vector<ExtensionText> entry_extensions = {};  ///< of every entry
};

/// Of its content in DER, so with its sign.
Asn1IntegerPtr integer_of(const std::string& content);
using Asn1TimePtr = OpensslPtr<ASN1_TIME, ASN1_TIME_free>;
/// "491231235959Z" is UTCTime, "20500101000000Z" GeneralizedTime.
Asn1TimePtr time_of(const std::string& text);

/// Signed by `issuer`.
X509CrlPtr make_crl(const test::TestCertificate& issuer, const CrlSpec& spec);
std::string to_pem(X509_CRL* crl);

/// The certificate with extensions replaced or added, signed anew by `issuer`.
test::TestCertificate reissue(const test::TestCertificate& certificate,
                              const test::TestCertificate& issuer,
                              const std::vector<ExtensionText>& extensions);

}  // namespace sallyport::ktls::testing
