#include "tests/ktls/trust/certificate_builder.h"

#include <openssl/x509v3.h>

namespace sallyport::ktls::testing {

X509Ptr make_certificate(const CertificateSpec& spec) {
  X509Ptr made(X509_new());
  X509* const certificate = made.get();
  X509* const issuer = spec.issuer != nullptr ? spec.issuer : certificate;
  X509_set_version(certificate, spec.version);
  static long certificates = 0;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++certificates);
  if (!spec.serial.empty())
    must(X509_set_serialNumber(certificate, integer_of(spec.serial).get()) == 1, "serial");
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(spec.subject.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  X509_gmtime_adj(X509_getm_notBefore(certificate), spec.not_before.count());
  X509_gmtime_adj(X509_getm_notAfter(certificate), spec.not_after.count());
  if (!spec.not_before_text.empty())
    X509_set1_notBefore(certificate, time_of(spec.not_before_text).get());
  if (!spec.not_after_text.empty())
    X509_set1_notAfter(certificate, time_of(spec.not_after_text).get());
  X509_set_pubkey(certificate, spec.key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const ExtensionText& text : spec.extensions) {
    const OpensslPtr<X509_EXTENSION, X509_EXTENSION_free> extension(
        X509V3_EXT_nconf(nullptr, &context, text.name.c_str(), text.value.c_str()));
    must(extension != nullptr, text.name + "=" + text.value);
    X509_add_ext(certificate, extension.get(), -1);
  }
  const EVP_MD* const digest = spec.digest != nullptr ? spec.digest : EVP_sha256();
  must(X509_sign(certificate, spec.signer, digest) > 0, "signature");
  return made;
}

}  // namespace sallyport::ktls::testing
