#include "tests/support/pki.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

namespace sallyport::test {
namespace {

// A test that cannot make its certificates has nothing to say: stop with OpenSSL's reason.
void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "pki: %s failed\n", what);
  ERR_print_errors_fp(stderr);
  std::abort();
}

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using Serial = std::unique_ptr<ASN1_INTEGER, Freed<ASN1_INTEGER_free>>;
using Time = std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME_free>>;
using Crl = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::uint64_t random_serial() {
  std::uint64_t serial = 0;
  must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "RAND_bytes");
  return (serial >> 1) | 1;  // positive, never zero
}

// Ed25519 and Ed448 bring their own hash.
const EVP_MD* digest_for(const EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") != 0 ? nullptr : EVP_sha256();
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  must(extension != nullptr, value);
  must(X509_add_ext(certificate, extension.get(), -1) == 1, "X509_add_ext");
}

// Built by hand, not from a configuration string, so that NUL, commas and wildcards survive.
void add_name(GENERAL_NAMES* names, int type, std::string_view value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* text =
      ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  must(ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) == 1, "SAN");
  GENERAL_NAME_set0_value(name, type, text);
  must(sk_GENERAL_NAME_push(names, name) > 0, "SAN push");
}

void add_subject_alt_names(X509* certificate, const LeafSpec& spec) {
  if (spec.dns.empty() && spec.spiffe.empty() && spec.ip.empty()) return;
  Names names(sk_GENERAL_NAME_new_null());
  for (const std::string& uri : spec.spiffe) add_name(names.get(), GEN_URI, uri);
  for (const std::string& dns : spec.dns) add_name(names.get(), GEN_DNS, dns);
  for (const std::string& ip : spec.ip) {
    char bytes[16];
    const bool v6 = ip.find(':') != std::string::npos;
    must(inet_pton(v6 ? AF_INET6 : AF_INET, ip.c_str(), bytes) == 1, ip.c_str());
    add_name(names.get(), GEN_IPADD, {bytes, v6 ? 16U : 4U});
  }
  must(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) == 1, "SAN");
}

const char* text_of(Eku eku) {
  switch (eku) {
    case Eku::kAbsent:
      return nullptr;
    case Eku::kClientAuth:
      return "clientAuth";
    case Eku::kServerAuth:
      return "serverAuth";
    case Eku::kClientAndServerAuth:
      return "clientAuth,serverAuth";
    case Eku::kOther:
      return "codeSigning";
  }
  std::abort();
}

struct Issuer {
  X509* certificate;  ///< null: self-signed
  EVP_PKEY* key;
};

TestCertificate make_certificate(const LeafSpec& spec, std::shared_ptr<EVP_PKEY> key, Issuer issuer,
                                 bool authority) {
  std::shared_ptr<X509> made(X509_new(), X509_free);
  X509* certificate = made.get();
  X509* signer = issuer.certificate != nullptr ? issuer.certificate : certificate;
  TestCertificate result;
  result.serial = random_serial();

  must(X509_set_version(certificate, X509_VERSION_3) == 1, "version");
  must(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), result.serial) == 1, "serial");
  X509_NAME* subject = X509_get_subject_name(certificate);
  must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(spec.cn.data()),
                                  static_cast<int>(spec.cn.size()), -1, 0) == 1,
       "CN");
  must(X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1, "issuer");
  const std::time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(certificate), now + spec.not_before.count());
  ASN1_TIME_set(X509_getm_notAfter(certificate), now + spec.not_after.count());
  must(X509_set_pubkey(certificate, key.get()) == 1, "public key");

  add_extension(certificate, signer, NID_basic_constraints,
                authority || spec.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(certificate, signer, NID_key_usage,
                authority ? "critical,keyCertSign,cRLSign,digitalSignature"
                          : (spec.ca ? "critical,keyCertSign,digitalSignature"
                                     : "critical,digitalSignature,keyEncipherment"));
  add_extension(certificate, signer, NID_subject_key_identifier, "hash");
  if (issuer.certificate != nullptr) {
    add_extension(certificate, signer, NID_authority_key_identifier, "keyid:always");
  }
  if (!authority) {
    if (const char* eku = text_of(spec.eku)) {
      add_extension(certificate, signer, NID_ext_key_usage, eku);
    }
    add_subject_alt_names(certificate, spec);
  }
  EVP_PKEY* signing_key = issuer.key != nullptr ? issuer.key : key.get();
  must(X509_sign(certificate, signing_key, digest_for(signing_key)) > 0, "X509_sign");

  result.cert_pem = to_pem(certificate);
  result.chain_pem = result.cert_pem;
  result.key_pem = to_pem(key.get());
  result.x509 = std::move(made);
  result.key = std::move(key);
  return result;
}

LeafSpec authority_spec(std::string cn, std::chrono::seconds not_after) {
  LeafSpec spec;
  spec.cn = std::move(cn);
  spec.not_before = std::chrono::hours(-48);
  spec.not_after = not_after;
  return spec;
}

}  // namespace

std::shared_ptr<EVP_PKEY> make_key(KeyType type) {
  EVP_PKEY* key = nullptr;
  switch (type) {
    case KeyType::kEcdsaP256:
      key = EVP_EC_gen("P-256");
      break;
    case KeyType::kEcdsaP384:
      key = EVP_EC_gen("P-384");
      break;
    case KeyType::kEd25519:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
      break;
    case KeyType::kRsa2048: {
      static const std::shared_ptr<EVP_PKEY> kShared(EVP_RSA_gen(2048), EVP_PKEY_free);
      must(kShared != nullptr, "RSA key");
      return kShared;
    }
  }
  must(key != nullptr, "key generation");
  return {key, EVP_PKEY_free};
}

TestAuthority::TestAuthority(std::string cn, KeyType key_type, std::chrono::seconds not_after)
    : own_(make_certificate(authority_spec(std::move(cn), not_after), make_key(key_type),
                            Issuer{nullptr, nullptr}, true)) {}

TestAuthority::TestAuthority(TestCertificate own, std::string chain_below_root)
    : own_(std::move(own)), chain_below_root_(std::move(chain_below_root)) {}

TestAuthority TestAuthority::intermediate(std::string cn, KeyType key_type,
                                          std::chrono::seconds not_after) const {
  TestCertificate made =
      make_certificate(authority_spec(std::move(cn), not_after), make_key(key_type),
                       {own_.x509.get(), own_.key.get()}, true);
  std::string chain = made.cert_pem + chain_below_root_;
  return TestAuthority(std::move(made), std::move(chain));
}

TestCertificate TestAuthority::issue(const LeafSpec& spec) const {
  return issue(spec, make_key(spec.key_type));
}

TestCertificate TestAuthority::issue(const LeafSpec& spec,
                                     const std::shared_ptr<EVP_PKEY>& key) const {
  TestCertificate leaf = make_certificate(spec, key, {own_.x509.get(), own_.key.get()}, false);
  leaf.chain_pem += chain_below_root_;
  return leaf;
}

std::string TestAuthority::crl(const std::vector<std::uint64_t>& revoked_serials,
                               std::chrono::seconds next_update, std::chrono::seconds this_update,
                               std::uint64_t number) const {
  Crl crl(X509_CRL_new());
  must(X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1, "CRL version");
  must(X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(own_.x509.get())) == 1,
       "CRL issuer");
  const std::time_t now = std::time(nullptr);
  Time last(ASN1_TIME_set(nullptr, now + this_update.count()));
  Time next(ASN1_TIME_set(nullptr, now + next_update.count()));
  must(X509_CRL_set1_lastUpdate(crl.get(), last.get()) == 1, "lastUpdate");
  must(X509_CRL_set1_nextUpdate(crl.get(), next.get()) == 1, "nextUpdate");
  for (const std::uint64_t revoked : revoked_serials) {
    X509_REVOKED* entry = X509_REVOKED_new();
    Serial serial(ASN1_INTEGER_new());
    ASN1_INTEGER_set_uint64(serial.get(), revoked);
    X509_REVOKED_set_serialNumber(entry, serial.get());
    X509_REVOKED_set_revocationDate(entry, last.get());
    must(X509_CRL_add0_revoked(crl.get(), entry) == 1, "CRL entry");
  }
  if (number != 0) {
    Serial value(ASN1_INTEGER_new());
    ASN1_INTEGER_set_uint64(value.get(), number);
    must(X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, value.get(), 0, 0) == 1, "CRL number");
  }
  X509_CRL_sort(crl.get());
  must(X509_CRL_sign(crl.get(), own_.key.get(), digest_for(own_.key.get())) > 0, "CRL sign");
  Bio bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_CRL(bio.get(), crl.get()) == 1, "CRL PEM");
  return text_of(bio.get());
}

TestCertificate self_signed(const LeafSpec& spec) {
  return make_certificate(spec, make_key(spec.key_type), Issuer{nullptr, nullptr}, false);
}

std::string to_pem(const X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(bio.get(), const_cast<X509*>(certificate)) == 1, "certificate PEM");
  return text_of(bio.get());
}

std::string to_pem(const EVP_PKEY* private_key) {
  Bio bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PrivateKey(bio.get(), const_cast<EVP_PKEY*>(private_key), nullptr, nullptr, 0,
                                nullptr, nullptr) == 1,
       "key PEM");
  return text_of(bio.get());
}

std::vector<unsigned char> to_der(const X509* certificate) {
  unsigned char* data = nullptr;
  const int size = i2d_X509(const_cast<X509*>(certificate), &data);
  must(size > 0, "DER");
  std::vector<unsigned char> der(data, data + size);
  OPENSSL_free(data);
  return der;
}

}  // namespace sallyport::test
