#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

// The content of certificate, key and CRL files. Pure: texts in, OpenSSL objects out. Each block of
// a text is read, or is of a kind that may stand beside what is read, or is an error with its line.
// Base64 or DER that cannot be decoded, or has bytes behind its end, is an error; so is a text
// without any block of the kind that is read.

enum class CertificateUse {
  kPresented,  ///< our own chain: private keys and DH PARAMETERS may stand beside it
  kTrusted,    ///< a bundle: a TRUSTED CERTIFICATE must have clientAuth among its trusted uses
};

struct PemCertificate {
  X509Ptr certificate;  ///< without OpenSSL's own trust settings
  unsigned line = 0;    ///< of its BEGIN
};

/// CERTIFICATE, X509 CERTIFICATE and TRUSTED CERTIFICATE, in the order of the text. May stand
/// beside them: EC PARAMETERS, and see CertificateUse. `file` is for errors.
std::expected<std::vector<PemCertificate>, CredentialsError> parse_certificates(
    std::string_view text, const std::string& file, CertificateUse use);

/// The one private key of a text, unencrypted. May stand beside it: certificates, EC PARAMETERS, DH
/// PARAMETERS.
std::expected<EvpPkeyPtr, CredentialsError> parse_private_key(std::string_view text,
                                                              const std::string& file);

struct ParsedCrl {
  X509CrlPtr crl;
  std::optional<unsigned> line;  ///< of its BEGIN; none in DER
};

/// The CRLs of a text in PEM, or in DER one behind the other. Nothing may stand beside them.
std::expected<std::vector<ParsedCrl>, CredentialsError> parse_crls(std::string_view text,
                                                                   const std::string& file);

}  // namespace sallyport::ktls
