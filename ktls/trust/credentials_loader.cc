#include "ktls/trust/credentials_loader.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "ktls/base/hex.h"
#include "ktls/base/spiffe.h"
#include "ktls/base/wire.h"
#include "ktls/trust/verify_settings.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

std::unexpected<CredentialsError> error(std::string file, std::optional<unsigned> line,
                                        std::string what) {
  return std::unexpected(CredentialsError{std::move(file), line, std::move(what)});
}

// Asked for the passphrase of an encrypted key: there is nobody to ask.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

BioPtr reader(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

bool is_certificate(const PemBlock& block) {
  return block.label == "CERTIFICATE" || block.label == "X509 CERTIFICATE" ||
         block.label == "TRUSTED CERTIFICATE";
}

bool is_key(const PemBlock& block) {
  return block.label.ends_with("PRIVATE KEY");
}

// What `openssl ecparam -genkey` writes before a key, and says nothing that the key does not.
bool is_parameters(const PemBlock& block) {
  return block.label == "EC PARAMETERS";
}

std::unexpected<CredentialsError> unexpected_block(const std::string& file, const PemBlock& block,
                                                   std::string_view beside) {
  return error(file, block.line,
               "holds a block \"" + block.label + "\" beside " + std::string(beside));
}

// TRUSTED CERTIFICATE is OpenSSL's own form, with uses for which its owner trusts the certificate
// or does not. We have no such distinction, so one that makes it against us is refused.
bool trusted_for_clients(X509* certificate) {
  const auto has = [](const STACK_OF(ASN1_OBJECT) * uses, int wanted) {
    for (int i = 0; i < sk_ASN1_OBJECT_num(uses); ++i) {
      const int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(uses, i));
      if (nid == wanted || nid == NID_anyExtendedKeyUsage) return true;
    }
    return false;
  };
  const STACK_OF(ASN1_OBJECT)* const accepted = X509_get0_trust_objects(certificate);
  const STACK_OF(ASN1_OBJECT)* const rejected = X509_get0_reject_objects(certificate);
  if (sk_ASN1_OBJECT_num(rejected) > 0) return false;
  return sk_ASN1_OBJECT_num(accepted) <= 0 || has(accepted, NID_client_auth);
}

std::expected<X509Ptr, CredentialsError> parse_certificate(const PemBlock& block,
                                                           const std::string& file) {
  X509Ptr certificate(
      PEM_read_bio_X509_AUX(reader(block.text->view()).get(), nullptr, no_passphrase, nullptr));
  if (!certificate)
    return error(file, block.line, "bad certificate: " + OpensslError::drain().text);
  if (!trusted_for_clients(certificate.get()))
    return error(file, block.line,
                 "TRUSTED CERTIFICATE with uses that leave out or reject clientAuth");
  if (X509_get0_pubkey(certificate.get()) == nullptr)
    return error(file, block.line,
                 "certificate with a key that cannot be used: " + OpensslError::drain().text);
  return certificate;
}

std::expected<EvpPkeyPtr, CredentialsError> parse_key(std::string_view text,
                                                      const std::string& file) {
  const auto blocks = cut_pem(text, file);
  if (!blocks) return std::unexpected(blocks.error());
  const PemBlock* found = nullptr;
  for (const PemBlock& block : *blocks) {
    if (is_certificate(block) || is_parameters(block)) continue;  // one file of both is common
    if (!is_key(block)) return unexpected_block(file, block, "a private key");
    if (found != nullptr) return error(file, block.line, "a second private key");
    found = &block;
  }
  if (found == nullptr) return error(file, std::nullopt, "holds no private key in PEM");
  if (found->label.starts_with("ENCRYPTED") ||
      found->text->view().substr(0, 256).contains("Proc-Type: 4,ENCRYPTED"))
    return error(file, found->line, "private key is encrypted; store it unencrypted, mode 0600");
  EvpPkeyPtr key(
      PEM_read_bio_PrivateKey(reader(found->text->view()).get(), nullptr, no_passphrase, nullptr));
  if (!key) return error(file, found->line, "bad private key: " + OpensslError::drain().text);
  return key;
}

CertificateFact fact_of(const X509* certificate, CertificateFact::Role role, std::string name) {
  CertificateFact fact;
  fact.role = role;
  fact.name = std::move(name);
  fact.subject = name_text(X509_get_subject_name(certificate));
  fact.issuer = name_text(X509_get_issuer_name(certificate));
  fact.serial = serial_text(X509_get0_serialNumber(certificate));
  fact.key = key_text(certificate);
  fact.fingerprint = encode_hex(sha256(to_der(certificate)), HexCase::kUpper);
  fact.not_before = to_time(X509_get0_notBefore(certificate));
  fact.not_after = to_time(X509_get0_notAfter(certificate));
  return fact;
}

// A scope as the command line gives it, in the form in which identities carry it.
std::optional<std::string> normalise_domain(const std::string& domain) {
  const auto id = normalise_spiffe_id(std::string(kSpiffeScheme) + domain);
  if (!id || domain.contains('/')) return std::nullopt;
  return id->substr(kSpiffeScheme.size());
}

}  // namespace

CredentialsLoader::CredentialsLoader(HandshakeSettings settings) : made_(new Credentials) {
  made_->settings_ = std::move(settings);
}

std::expected<std::shared_ptr<const Credentials>, CredentialsError> CredentialsLoader::load(
    const CredentialFiles& files) {
  if (files.pairs.empty()) return error({}, {}, "no certificate (--cert and --key)");
  if (files.ca.empty()) return error({}, {}, "no trust anchors (--ca)");
  for (const auto& pair : files.pairs)
    if (auto done = add_pair(pair); !done) return std::unexpected(done.error());
  for (const auto& bundle : files.ca)
    if (auto done = add_bundle(bundle); !done) return std::unexpected(done.error());
  std::ranges::sort(made_->anchors_, {}, &Credentials::Anchor::key);
  set_trust_digest();
  for (const auto& file : files.crls)
    if (auto done = add_crls(file); !done) return std::unexpected(done.error());
  if (auto done = set_tickets(files.ticket_keys); !done) return std::unexpected(done.error());
  return made_;
}

CredentialsLoader::Done CredentialsLoader::add_pair(const CredentialFiles::Pair& files) {
  const auto cert_text = read_file(files.cert, FileRules::kPublic);
  if (!cert_text) return std::unexpected(cert_text.error());
  const auto blocks = cut_pem((*cert_text)->view(), files.cert);
  if (!blocks) return std::unexpected(blocks.error());

  Credentials::KeyPair pair;
  pair.cert_file = files.cert;
  pair.key_file = files.key;
  for (const PemBlock& block : *blocks) {
    if (is_key(block) || is_parameters(block)) continue;  // one file of both is common
    if (!is_certificate(block)) return unexpected_block(files.cert, block, "certificates");
    auto certificate = parse_certificate(block, files.cert);
    if (!certificate) return std::unexpected(std::move(certificate.error()));
    CertificateFact fact = fact_of(certificate->get(), CertificateFact::Role::kServer, files.cert);
    fact.leaf = !pair.leaf;
    made_->certificates_.push_back(std::move(fact));
    if (!pair.leaf) {
      pair.leaf = std::move(*certificate);
    } else {
      pair.chain.push_back(std::move(*certificate));
    }
  }
  if (!pair.leaf) return error(files.cert, {}, "holds no certificate in PEM");

  const auto key_text = read_file(files.key, FileRules::kSecret);
  if (!key_text) return std::unexpected(key_text.error());
  auto key = parse_key((*key_text)->view(), files.key);
  if (!key) return std::unexpected(std::move(key.error()));
  pair.key = std::move(*key);
  if (X509_check_private_key(pair.leaf.get(), pair.key.get()) != 1) {
    (void)OpensslError::drain();
    return error(files.key, {}, "does not belong to the first certificate of " + files.cert);
  }
  for (const Credentials::KeyPair& other : made_->pairs_)
    if (EVP_PKEY_get_base_id(other.key.get()) == EVP_PKEY_get_base_id(pair.key.get()))
      return error(files.cert, {},
                   "has the same kind of key as " + other.cert_file + "; one pair per kind");
  made_->pairs_.push_back(std::move(pair));
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_bundle(const CredentialFiles::Trust& bundle) {
  std::optional<std::string> domain;
  if (bundle.domain) {
    domain = normalise_domain(*bundle.domain);
    if (!domain) return error({}, {}, "--ca: \"" + *bundle.domain + "\" is no SPIFFE trust domain");
  }
  const auto text = read_file(bundle.file, FileRules::kPublic);
  if (!text) return std::unexpected(text.error());
  const auto blocks = cut_pem((*text)->view(), bundle.file);
  if (!blocks) return std::unexpected(blocks.error());
  if (std::ranges::none_of(*blocks, is_certificate))
    return error(bundle.file, {}, "holds no certificate in PEM");

  const std::size_t before = made_->trusted_.size();
  for (const PemBlock& block : *blocks) {
    if (is_parameters(block)) continue;
    if (!is_certificate(block)) return unexpected_block(bundle.file, block, "certificates");
    auto certificate = parse_certificate(block, bundle.file);
    if (!certificate) return std::unexpected(std::move(certificate.error()));
    if (auto done = add_trusted(std::move(*certificate), block, bundle.file, domain); !done)
      return done;
  }
  const bool anchored =
      std::any_of(made_->trusted_.begin() + static_cast<std::ptrdiff_t>(before),
                  made_->trusted_.end(), [](const auto& trusted) { return trusted.anchor; });
  if (!anchored)
    return error(bundle.file, {},
                 "holds no self-signed root; intermediates help building but do not anchor");
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_trusted(X509Ptr certificate, const PemBlock& block,
                                                       const std::string& file,
                                                       const std::optional<std::string>& domain) {
  // OpenSSL would anchor at whatever looks self-signed, so the signature is looked at here.
  const bool looks_self_signed = X509_self_signed(certificate.get(), 0) == 1;
  const bool anchor = looks_self_signed && X509_self_signed(certificate.get(), 1) == 1;
  if (looks_self_signed && !anchor)
    return error(file, block.line,
                 "self-signed certificate with a bad signature: " + OpensslError::drain().text);
  (void)OpensslError::drain();

  CertificateFact fact = fact_of(certificate.get(), CertificateFact::Role::kCa, file);
  fact.anchor = anchor;
  fact.trust_domain = domain;
  made_->certificates_.push_back(std::move(fact));
  if (anchor) add_anchor(certificate.get(), domain);
  made_->trusted_.push_back({std::move(certificate), domain, anchor});
  return {};
}

void CredentialsLoader::add_anchor(const X509* certificate,
                                   const std::optional<std::string>& domain) {
  const Sha256 key = public_key_hash(certificate);
  auto known = std::ranges::find(made_->anchors_, key, &Credentials::Anchor::key);
  if (known == made_->anchors_.end())
    known = made_->anchors_.insert(known, {.key = key, .unscoped = false, .domains = {}});
  if (domain) {
    known->domains.push_back(*domain);
  } else {
    known->unscoped = true;
  }
}

CredentialsLoader::Done CredentialsLoader::add_crls(const std::string& file) {
  const auto text = read_file(file, FileRules::kPublic);
  if (!text) return std::unexpected(text.error());
  const std::string_view view = (*text)->view();
  constexpr char kDerSequence = 0x30;
  if (view.starts_with(kDerSequence)) {  // DER, as CAs publish it
    const auto* at = reinterpret_cast<const unsigned char*>(view.data());
    const auto* const end = at + view.size();
    X509CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(view.size())));
    if (!crl) return error(file, {}, "bad CRL in DER: " + OpensslError::drain().text);
    if (at != end) return error(file, {}, "holds more than one CRL in DER");
    return add_crl(std::move(crl), file, std::nullopt);
  }
  const auto blocks = cut_pem(view, file);
  if (!blocks) return std::unexpected(blocks.error());
  if (blocks->empty()) return error(file, {}, "holds no CRL, neither in PEM nor in DER");
  for (const PemBlock& block : *blocks) {
    if (block.label != "X509 CRL") return unexpected_block(file, block, "CRLs");
    X509CrlPtr crl(
        PEM_read_bio_X509_CRL(reader(block.text->view()).get(), nullptr, no_passphrase, nullptr));
    if (!crl) return error(file, block.line, "bad CRL: " + OpensslError::drain().text);
    if (auto done = add_crl(std::move(crl), file, block.line); !done) return done;
  }
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_crl(X509CrlPtr crl, const std::string& file,
                                                   std::optional<unsigned> line) {
  const X509_NAME* issuer = X509_CRL_get_issuer(crl.get());
  if (X509_CRL_get_ext_by_NID(crl.get(), NID_delta_crl, -1) >= 0)
    return error(file, line, "delta CRLs are not supported by this version");

  // An issuer that only clients send cannot be checked before the handshake, where OpenSSL does.
  bool known = false;
  bool proven = false;
  for (const Credentials::TrustedCertificate& trusted : made_->trusted_) {
    if (X509_NAME_cmp(X509_get_subject_name(trusted.certificate.get()), issuer) != 0) continue;
    known = true;
    proven = X509_CRL_verify(crl.get(), X509_get0_pubkey(trusted.certificate.get())) == 1;
    if (proven) break;
  }
  (void)OpensslError::drain();
  if (known && !proven)
    return error(file, line, "CRL is not signed by the issuer that it names, " + name_text(issuer));

  Credentials::Crl entry;
  entry.issuer = name_hash(issuer);
  entry.this_update = to_time(X509_CRL_get0_lastUpdate(crl.get()));
  if (const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl.get()))
    entry.next_update = to_time(next);
  const STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(crl.get());
  CrlFact fact;
  fact.name = file;
  fact.issuer = name_text(issuer);
  fact.this_update = entry.this_update;
  fact.next_update = entry.next_update;
  fact.revoked = revoked == nullptr ? 0 : static_cast<std::size_t>(sk_X509_REVOKED_num(revoked));
  // One look-up sorts the list now, before shards share it.
  X509_REVOKED* none = nullptr;
  const Asn1IntegerPtr zero(ASN1_INTEGER_new());
  (void)X509_CRL_get0_by_serial(crl.get(), &none, zero.get());

  entry.crl = std::move(crl);
  made_->crls_.push_back(std::move(entry));
  made_->crl_facts_.push_back(std::move(fact));
  return {};
}

CredentialsLoader::Done CredentialsLoader::set_tickets(const std::optional<std::string>& file) {
  // The file is read even when tickets are off: a bad one is an error now, not when they come on.
  if (file) {
    auto secrets = TicketSecrets::load(*file);
    if (!secrets) return std::unexpected(secrets.error());
    made_->tickets_ = std::move(*secrets);
  } else {
    made_->tickets_ = made_->settings_.process_tickets;
    if (!made_->tickets_) made_->tickets_ = TicketSecrets::random();
  }
  if (made_->settings_.tickets == 0) made_->tickets_ = nullptr;
  return {};
}

void CredentialsLoader::set_trust_digest() {
  std::vector<Sha256> entries;
  for (const Credentials::TrustedCertificate& trusted : made_->trusted_) {
    WireWriter out;
    out.u8(trusted.domain ? 1 : 0);
    out.text(trusted.domain.value_or(""));
    out.raw(to_der(trusted.certificate.get()));
    entries.push_back(sha256(out.bytes()));
  }
  std::ranges::sort(entries);
  const auto rest = std::ranges::unique(entries);
  entries.erase(rest.begin(), rest.end());

  WireWriter out;
  out.text(kVerifySettings);
  for (const Sha256& entry : entries) out.raw(std::as_bytes(std::span(entry)));
  made_->trust_digest_ = sha256(out.bytes());
}

}  // namespace sallyport::ktls
