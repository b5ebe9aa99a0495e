#include "bench/load/issuer.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>

#include "bench/load/fd.h"
#include "bench/load/openssl_free.h"

namespace sallyport::bench {
namespace {

void require(bool good, const std::string& what) {
  if (good) return;
  errno = 0;
  die(what);
}

void extend(X509* certificate, int nid, const std::string& value) {
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()));
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

}  // namespace

struct Issuer::State {
  Owned<X509> certificate;
  Owned<EVP_PKEY> key;
  Owned<EVP_PKEY> leaf_key{EVP_EC_gen("P-256")};
  std::uint64_t next = 0;

  Owned<X509> issue(const std::string& id) {
    Owned<X509> leaf(X509_new());
    const bool good = leaf && X509_set_version(leaf.get(), X509_VERSION_3) == 1 &&
                      ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf.get()), next + 1) == 1 &&
                      X509_set_issuer_name(leaf.get(), X509_get_subject_name(certificate.get())) &&
                      X509_gmtime_adj(X509_getm_notBefore(leaf.get()), -60) != nullptr &&
                      X509_gmtime_adj(X509_getm_notAfter(leaf.get()), 864'000) != nullptr &&
                      X509_set_pubkey(leaf.get(), leaf_key.get()) == 1;
    require(good, "a client certificate");
    extend(leaf.get(), NID_basic_constraints, "critical,CA:FALSE");
    extend(leaf.get(), NID_key_usage, "critical,digitalSignature");
    extend(leaf.get(), NID_ext_key_usage, "clientAuth");
    extend(leaf.get(), NID_subject_alt_name, "URI:" + id);
    require(X509_sign(leaf.get(), key.get(), EVP_sha256()) > 0, "signing a client certificate");
    return leaf;
  }
};

Issuer::Issuer(const std::string& certificate_file, const std::string& key_file)
    : state_(std::make_unique<State>()) {
  const Owned<BIO> certificate(BIO_new_file(certificate_file.c_str(), "r"));
  require(certificate != nullptr, certificate_file);
  state_->certificate.reset(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
  const Owned<BIO> key(BIO_new_file(key_file.c_str(), "r"));
  require(key != nullptr, key_file);
  state_->key.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
  require(state_->certificate && state_->key && state_->leaf_key, certificate_file);
}

Issuer::~Issuer() = default;

void Issuer::give_next(SSL* ssl) {
  const std::uint64_t number = state_->next;
  const std::string id = std::string("spiffe://bench.example/peer/") +
                         (number % 2 == 0 ? "even/" : "odd/") + std::to_string(number);
  const Owned<X509> leaf = state_->issue(id);
  ++state_->next;
  require(SSL_use_certificate(ssl, leaf.get()) == 1 &&
              SSL_use_PrivateKey(ssl, state_->leaf_key.get()) == 1 &&
              SSL_add1_chain_cert(ssl, state_->certificate.get()) == 1,
          "a client certificate");
}

}  // namespace sallyport::bench
