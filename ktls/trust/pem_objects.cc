#include "ktls/trust/pem_objects.h"

#include <openssl/pem.h>

#include <memory>
#include <span>
#include <utility>

#include "ktls/base/der.h"
#include "ktls/base/give_way.h"
#include "ktls/base/secret_bytes.h"
#include "ktls/base/text_lines.h"
#include "ktls/trust/pem_blocks.h"

namespace sallyport::ktls {
namespace {

std::unexpected<CredentialsError> unexpected_block(const std::string& file, const PemBlock& block,
                                                   std::string_view beside) {
  return credentials_error(
      file, block.line,
      "holds a block \"" + std::string(block.label) + "\" beside " + std::string(beside));
}

// The callback for the passphrase of an encrypted key: there is none.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

bool is_certificate(const PemBlock& block) {
  return block.label == "CERTIFICATE" || block.label == "X509 CERTIFICATE" ||
         block.label == "TRUSTED CERTIFICATE";
}

bool is_private_key(const PemBlock& block) {
  return block.label.ends_with("PRIVATE KEY");
}

// The block that `openssl ecparam -genkey` writes before a key. The key itself names its curve,
// too.
bool is_curve(const PemBlock& block) {
  return block.label == "EC PARAMETERS";
}

// Parameters of finite-field Diffie-Hellman, which other servers want in the certificate's file,
// and which is never done here.
bool is_dh_parameters(const PemBlock& block) {
  return block.label == "DH PARAMETERS";
}

bool is_encrypted(const PemBlock& block) {
  return block.label.starts_with("ENCRYPTED") ||
         block.body.substr(0, 256).contains("Proc-Type: 4,ENCRYPTED");  // RFC 1421 4.6.1.1
}

// One DER object from the front of `der`, which then starts behind it. Null: the reason is in
// OpenSSL's error queue.
template <class Ptr, auto Decode>
Ptr take_der(std::string_view& der) {
  const auto* const begin = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* at = begin;
  Ptr object(Decode(nullptr, &at, static_cast<long>(der.size())));
  if (!object) return nullptr;
  der.remove_prefix(static_cast<std::size_t>(at - begin));
  (void)OpensslError::drain();  // a CRL's extension that cannot be read leaves its reason there
  return object;
}

// The whole of a block as one DER object; `what` is for errors: "certificate".
template <class Ptr, auto Decode>
std::expected<Ptr, CredentialsError> parse_block(const PemBlock& block, const std::string& file,
                                                 const std::string& what) {
  give_way();
  const std::unique_ptr<SecretText> decoded = decode(block);
  if (!decoded) return credentials_error(file, block.line, "bad " + what + ": is not base64");
  std::string_view der = decoded->view();
  Ptr object = take_der<Ptr, Decode>(der);
  if (!object)
    return credentials_error(file, block.line, "bad " + what + ": " + OpensslError::drain().text);
  if (!der.empty())
    return credentials_error(file, block.line, "bad " + what + ": bytes behind its end");
  return object;
}

bool names_client_auth(const STACK_OF(ASN1_OBJECT) * uses) {
  for (int i = 0; i < sk_ASN1_OBJECT_num(uses); ++i) {  // -1 for none
    const int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(uses, i));
    if (nid == NID_client_auth || nid == NID_anyExtendedKeyUsage) return true;
  }
  return false;
}

// Whether a TRUSTED CERTIFICATE may be used for clients. This form of OpenSSL's lists the uses that
// the certificate is trusted for and those that it is rejected for (openssl x509 -addtrust,
// -addreject). One that has either list must be trusted for clientAuth.
bool trusted_for_clients(X509* certificate) {
  const STACK_OF(ASN1_OBJECT)* const trusted = X509_get0_trust_objects(certificate);
  const STACK_OF(ASN1_OBJECT)* const rejected = X509_get0_reject_objects(certificate);
  if (trusted == nullptr && rejected == nullptr) return true;
  return names_client_auth(trusted) && !names_client_auth(rejected);
}

std::expected<X509Ptr, CredentialsError> parse_certificate(const PemBlock& block,
                                                           const std::string& file,
                                                           CertificateUse use) {
  const bool with_settings = block.label == "TRUSTED CERTIFICATE";
  auto certificate = with_settings ? parse_block<X509Ptr, d2i_X509_AUX>(block, file, "certificate")
                                   : parse_block<X509Ptr, d2i_X509>(block, file, "certificate");
  if (!certificate) return certificate;
  if (use == CertificateUse::kTrusted && !trusted_for_clients(certificate->get()))
    return credentials_error(file, block.line,
                             "TRUSTED CERTIFICATE with uses that leave out or reject clientAuth");
  X509_trust_clear(certificate->get());
  X509_reject_clear(certificate->get());
  give_way();
  if (X509_get0_pubkey(certificate->get()) == nullptr)
    return credentials_error(
        file, block.line,
        "certificate with a key that cannot be used: " + OpensslError::drain().text);
  return certificate;
}

constexpr char kDerBegins = 0x30;  // '0', so text may begin with it as well

// A SEQUENCE whose length takes more than a byte, as that of nearly every CRL does. No text begins
// so.
bool looks_like_der(std::string_view text) {
  return text.size() > 1 && text[0] == kDerBegins &&
         (static_cast<unsigned char>(text[1]) & 0x80) != 0;
}

std::expected<std::vector<ParsedCrl>, CredentialsError> parse_der_crls(std::string_view der,
                                                                       const std::string& file) {
  std::vector<ParsedCrl> crls;
  do {
    give_way();
    X509CrlPtr crl = take_der<X509CrlPtr, d2i_X509_CRL>(der);
    if (!crl) {
      const std::string which = crls.empty() ? "bad CRL" : "bytes behind a CRL that are no CRL";
      return credentials_error(file, which + " in DER: " + OpensslError::drain().text);
    }
    crls.push_back({.crl = std::move(crl), .line = std::nullopt});
  } while (!trim(der).empty());  // an added line end is no CRL
  return crls;
}

// Whether the DER is one object of some kind and nothing more.
bool is_one_object(std::string_view text) {
  auto der = std::as_bytes(std::span(text));
  return take_element(der) && der.empty();
}

}  // namespace

std::expected<std::vector<PemCertificate>, CredentialsError> parse_certificates(
    std::string_view text, const std::string& file, CertificateUse use) {
  const auto blocks = cut_pem(text, file);
  if (!blocks) return std::unexpected(blocks.error());
  const bool with_key = use == CertificateUse::kPresented;
  std::vector<PemCertificate> certificates;
  for (const PemBlock& block : *blocks) {
    if (is_curve(block)) continue;
    if (with_key && (is_private_key(block) || is_dh_parameters(block))) continue;
    if (!is_certificate(block)) return unexpected_block(file, block, "certificates");
    auto certificate = parse_certificate(block, file, use);
    if (!certificate) return std::unexpected(std::move(certificate.error()));
    certificates.push_back({.certificate = std::move(*certificate), .line = block.line});
  }
  if (certificates.empty()) return credentials_error(file, "holds no certificate in PEM");
  return certificates;
}

std::expected<EvpPkeyPtr, CredentialsError> parse_private_key(std::string_view text,
                                                              const std::string& file) {
  const auto blocks = cut_pem(text, file);
  if (!blocks) return std::unexpected(blocks.error());
  const PemBlock* found = nullptr;
  for (const PemBlock& block : *blocks) {
    if (is_certificate(block) || is_curve(block) || is_dh_parameters(block)) continue;
    if (!is_private_key(block)) return unexpected_block(file, block, "a private key");
    if (found != nullptr) return credentials_error(file, block.line, "a second private key");
    found = &block;
  }
  if (found == nullptr) return credentials_error(file, "holds no private key in PEM");
  if (is_encrypted(*found))
    return credentials_error(file, found->line,
                             "private key is encrypted; store it unencrypted, mode 0600");
  const std::unique_ptr<SecretText> der = decode(*found);
  if (!der) return credentials_error(file, found->line, "bad private key: is not base64");
  if (!is_one_object(der->view()))
    return credentials_error(file, found->line,
                             "bad private key: is cut off, or has bytes behind its end");

  give_way();
  // Written as PEM again, in the form that OpenSSL reads, so that OpenSSL's providers decide which
  // kinds of key are supported. A memory BIO cleanses its content when it is freed.
  const BioPtr pem(BIO_new(BIO_s_mem()));
  PEM_write_bio(pem.get(), std::string(found->label).c_str(), "",
                reinterpret_cast<const unsigned char*>(der->data()),
                static_cast<long>(der->size()));
  EvpPkeyPtr key(PEM_read_bio_PrivateKey(pem.get(), nullptr, no_passphrase, nullptr));
  if (!key)
    return credentials_error(file, found->line, "bad private key: " + OpensslError::drain().text);
  return key;
}

std::expected<std::vector<ParsedCrl>, CredentialsError> parse_crls(std::string_view text,
                                                                   const std::string& file) {
  if (text.starts_with(kDerBegins)) {
    auto in_der = parse_der_crls(text, file);  // as CAs publish it
    if (in_der || looks_like_der(text)) return in_der;
  }
  const auto blocks = cut_pem(text, file);
  if (!blocks) return std::unexpected(blocks.error());
  std::vector<ParsedCrl> crls;
  for (const PemBlock& block : *blocks) {
    if (block.label != "X509 CRL") return unexpected_block(file, block, "CRLs");
    auto crl = parse_block<X509CrlPtr, d2i_X509_CRL>(block, file, "CRL");
    if (!crl) return std::unexpected(std::move(crl.error()));
    crls.push_back({.crl = std::move(*crl), .line = block.line});
  }
  if (crls.empty()) return credentials_error(file, "holds no CRL, neither in PEM nor in DER");
  return crls;
}

}  // namespace sallyport::ktls
