#include "tests/ktls/trust/crl_builder.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace sallyport::ktls::testing {
namespace {

using ExtensionPtr = OpensslPtr<X509_EXTENSION, X509_EXTENSION_free>;

ExtensionPtr extension_of(const ExtensionText& text, X509* issuer, X509* subject, X509_CRL* crl) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, subject, nullptr, crl, 0);
  ExtensionPtr made(X509V3_EXT_nconf(nullptr, &context, text.name.c_str(), text.value.c_str()));
  must(made != nullptr, text.name + "=" + text.value);
  return made;
}

}  // namespace

void must(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "test builder: %s: %s\n", what.c_str(), OpensslError::drain().text.c_str());
  std::abort();
}

Asn1IntegerPtr integer_of(const std::string& content) {
  std::string der = "\x02\x82";  // a length of two bytes: BER, which is read as well
  der += static_cast<char>(content.size() >> 8);
  der += static_cast<char>(content.size());
  der += content;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  Asn1IntegerPtr made(d2i_ASN1_INTEGER(nullptr, &at, static_cast<long>(der.size())));
  must(made != nullptr, "INTEGER");
  return made;
}

Asn1TimePtr time_of(const std::string& text) {
  Asn1TimePtr time(ASN1_TIME_new());
  must(ASN1_TIME_set_string(time.get(), text.c_str()) == 1, text);
  return time;
}

X509CrlPtr make_crl(const test::TestCertificate& issuer, const CrlSpec& spec) {
  X509CrlPtr crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.x509.get()));
  const std::time_t now = std::time(nullptr);
  const Asn1TimePtr last = spec.this_update_text.empty()
                               ? Asn1TimePtr(ASN1_TIME_set(nullptr, now + spec.this_update.count()))
                               : time_of(spec.this_update_text);
  X509_CRL_set1_lastUpdate(crl.get(), last.get());
  if (!spec.next_update_text.empty()) {
    X509_CRL_set1_nextUpdate(crl.get(), time_of(spec.next_update_text).get());
  } else if (spec.next_update) {
    const Asn1TimePtr next(ASN1_TIME_set(nullptr, now + spec.next_update->count()));
    X509_CRL_set1_nextUpdate(crl.get(), next.get());
  }
  std::vector<Asn1IntegerPtr> serials;
  for (const std::uint64_t number : spec.serials) {
    serials.emplace_back(ASN1_INTEGER_new());
    ASN1_INTEGER_set_uint64(serials.back().get(), number);
  }
  for (const std::string& content : spec.odd_serials) serials.push_back(integer_of(content));
  for (const Asn1IntegerPtr& serial : serials) {
    X509_REVOKED* const entry = X509_REVOKED_new();
    must(X509_REVOKED_set_serialNumber(entry, serial.get()) == 1, "serial");
    X509_REVOKED_set_revocationDate(entry, last.get());
    for (const ExtensionText& text : spec.entry_extensions)
      X509_REVOKED_add_ext(entry, extension_of(text, issuer.x509.get(), nullptr, crl.get()).get(),
                           -1);
    must(X509_CRL_add0_revoked(crl.get(), entry) == 1, "entry");
  }
  for (const ExtensionText& text : spec.extensions)
    X509_CRL_add_ext(crl.get(), extension_of(text, issuer.x509.get(), nullptr, crl.get()).get(),
                     -1);
  must(X509_CRL_sign(crl.get(), issuer.key.get(), EVP_sha256()) > 0, "signature");

  // Decoded once more: OpenSSL reads a list's extensions only then.
  unsigned char* der = nullptr;
  const int size = i2d_X509_CRL(crl.get(), &der);
  const unsigned char* at = der;
  X509CrlPtr decoded(d2i_X509_CRL(nullptr, &at, size));
  (void)OpensslError::drain();
  OPENSSL_free(der);
  must(decoded != nullptr, "decoding");
  return decoded;
}

std::string to_pem(X509_CRL* crl) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_CRL(out.get(), crl) == 1, "PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

test::TestCertificate reissue(const test::TestCertificate& certificate,
                              const test::TestCertificate& issuer,
                              const std::vector<ExtensionText>& extensions) {
  const X509Ptr changed(X509_dup(certificate.x509.get()));
  for (const ExtensionText& text : extensions) {
    const int nid = OBJ_sn2nid(text.name.c_str());
    const int at = X509_get_ext_by_NID(changed.get(), nid, -1);
    if (at >= 0) X509_EXTENSION_free(X509_delete_ext(changed.get(), at));
    X509_add_ext(changed.get(), extension_of(text, issuer.x509.get(), changed.get(), nullptr).get(),
                 -1);
  }
  must(X509_sign(changed.get(), issuer.key.get(), EVP_sha256()) > 0, "certificate");
  unsigned char* der = nullptr;
  const int size = i2d_X509(changed.get(), &der);
  const unsigned char* at = der;
  test::TestCertificate made = certificate;
  made.x509 = {d2i_X509(nullptr, &at, size), X509_free};
  OPENSSL_free(der);
  must(made.x509 != nullptr, "decoding");
  made.cert_pem = test::to_pem(made.x509.get());
  made.chain_pem = made.cert_pem + certificate.chain_pem.substr(certificate.cert_pem.size());
  return made;
}

}  // namespace sallyport::ktls::testing
