#pragma once

#include <openssl/x509.h>

#include <chrono>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "tests/ktls/trust/crl_builder.h"

namespace sallyport::ktls::testing {

/// What a certificate says, and whose key signs it. Times are offsets from now.
struct CertificateSpec {
  std::string subject;  ///< its CN
  EVP_PKEY* key = nullptr;
  X509* issuer = nullptr;  ///< null: itself
  EVP_PKEY* signer = nullptr;
  std::chrono::seconds not_before = std::chrono::hours(-48);
  std::chrono::seconds not_after = std::chrono::hours(24);
  std::vector<ExtensionText> extensions = {};
  std::string serial = {};  ///< see integer_of(); empty: one of its own
  /// Given: a time of ASN.1 in its stead, "491231235959Z", "20500101000000Z".
  std::string not_before_text = {}, not_after_text = {};
  long version = X509_VERSION_3;
  const EVP_MD* digest = nullptr;  ///< null: SHA-256
};

X509Ptr make_certificate(const CertificateSpec& spec);

}  // namespace sallyport::ktls::testing
