#include "ktls/trust/credentials_loader.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "ktls/base/give_way.h"
#include "ktls/base/hex.h"
#include "ktls/base/spiffe.h"
#include "ktls/base/wire.h"
#include "ktls/trust/credential_file.h"
#include "ktls/trust/identity.h"
#include "ktls/trust/pem_objects.h"
#include "ktls/trust/verify_settings.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// Whether the extended key usage has one of these purposes. Without the extension every one is
// allowed (RFC 5280 4.2.1.12).
bool allows(const X509* certificate, std::uint32_t purposes) {
  // OpenSSL computes the flags of the extensions on demand and keeps them in the certificate.
  const std::uint32_t usage = X509_get_extended_key_usage(const_cast<X509*>(certificate));
  return (usage & (purposes | XKU_ANYEKU)) != 0;
}

CertificateFact fact_of(const X509* certificate, CertificateFact::Role role, std::string name) {
  CertificateFact fact;
  fact.role = role;
  fact.name = std::move(name);
  fact.subject = name_text(X509_get_subject_name(certificate));
  fact.issuer = name_text(X509_get_issuer_name(certificate));
  fact.subject_name = name_hash(X509_get_subject_name(certificate));
  fact.issuer_name = name_hash(X509_get_issuer_name(certificate));
  fact.public_key = public_key_hash(certificate);
  fact.serial = serial_text(X509_get0_serialNumber(certificate));
  fact.names = alternative_names(certificate);
  fact.key = key_text(certificate);
  fact.fingerprint = encode_hex(sha256(to_der(certificate)), HexCase::kUpper);
  fact.not_before = to_time(X509_get0_notBefore(certificate));
  fact.not_after = to_time(X509_get0_notAfter(certificate));
  fact.authority = X509_check_ca(const_cast<X509*>(certificate)) != 0;
  if (role == CertificateFact::Role::kCa) return fact;
  fact.serves = allows(certificate, XKU_SSL_SERVER | XKU_SGC);
  fact.calls = allows(certificate, XKU_SSL_CLIENT);
  const auto identity = identify(certificate);
  fact.spiffe = identity && !identity->spiffe.empty();
  return fact;
}

std::expected<EvpPkeyPtr, CredentialsError> read_key(const std::string& file) {
  const auto text = read_file(file, FileRules::kSecret);
  if (!text) return std::unexpected(text.error());
  return parse_private_key((*text)->view(), file);
}

// A bundle may have key and certificates in any order; the leaf is that of the key.
void move_leaf_to_front(std::vector<PemCertificate>& certificates, EVP_PKEY* key) {
  const auto leaf = std::ranges::find_if(certificates, [key](const PemCertificate& each) {
    return X509_check_private_key(each.certificate.get(), key) == 1;
  });
  (void)OpensslError::drain();
  if (leaf != certificates.end()) std::rotate(certificates.begin(), leaf, std::next(leaf));
}

// Empty: its kind of key has none.
std::string curve_of(const EVP_PKEY* key) {
  std::array<char, 64> name{};
  if (EVP_PKEY_is_a(key, "EC") != 1 ||
      EVP_PKEY_get_group_name(key, name.data(), name.size(), nullptr) != 1)
    return {};
  return name.data();
}

// The trust domain as configured, normalised as in identities.
std::optional<std::string> normalise_domain(const std::string& domain) {
  const auto id = normalise_spiffe_id(std::string(kSpiffeScheme) + domain);
  if (!id || domain.contains('/')) return std::nullopt;
  return id->substr(kSpiffeScheme.size());
}

}  // namespace

CredentialsLoader::CredentialsLoader(HandshakeSettings settings)
    : now_(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now())),
      made_(new Credentials) {
  made_->settings_ = std::move(settings);
}

std::expected<std::shared_ptr<const Credentials>, CredentialsError> CredentialsLoader::load(
    const CredentialFiles& files, const Credentials* of_same_trust) {
  if (files.pairs.empty() && !files.trust_only)
    return credentials_error({}, "no certificate (--cert and --key)");
  if (!files.trust_only) {
    for (const auto& pair : files.pairs)
      if (auto done = add_pair(pair); !done) return std::unexpected(done.error());
  }
  if (of_same_trust != nullptr) {
    made_->trust_ = of_same_trust->trust_;
  } else {
    if (auto done = load_trust(files); !done) return std::unexpected(done.error());
    made_->trust_ = std::move(trust_);
  }
  const auto add = [](auto& all, const auto& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  add(made_->certificates_, made_->trust_->certificates);
  add(made_->file_facts_, made_->trust_->file_facts);
  add(made_->warnings_, made_->trust_->warnings);
  if (files.trust_only) return made_;
  if (auto done = set_tickets(files.ticket_keys); !done) return std::unexpected(done.error());
  return made_;
}

CredentialsLoader::Done CredentialsLoader::load_trust(const CredentialFiles& files) {
  trust_ = std::make_shared<Credentials::Trust>();
  trust_given_as_ = files.trust_given_as;
  trust_->crls.accept_expired(made_->settings_.accept_expired_crl);
  if (files.ca.empty()) return credentials_error({}, "no trust anchors (--ca)");
  for (const auto& bundle : files.ca)
    if (auto done = add_bundle(bundle); !done) return done;
  std::ranges::sort(trust_->anchors, {}, &Credentials::Anchor::key);
  set_trust_digest();
  set_anchor_expiries();
  for (const auto& file : files.crls)
    if (auto done = add_crls(file); !done) return done;
  return check_anchors_lists();
}

// How what is of the trust was given, for messages.
std::string CredentialsLoader::given_as(const char* flag) const {
  return trust_given_as_.empty() ? flag : trust_given_as_;
}

CredentialsLoader::Done CredentialsLoader::add_pair(const CredentialFiles::Pair& files) {
  const bool bundle = files.cert == files.key;
  const auto cert_text = read_file(files.cert, bundle ? FileRules::kSecret : FileRules::kPublic);
  if (!cert_text) return std::unexpected(cert_text.error());
  auto certificates =
      parse_certificates((*cert_text)->view(), files.cert, CertificateUse::kPresented);
  if (!certificates) return std::unexpected(std::move(certificates.error()));
  const auto given_as = [&files, bundle](const char* flag) {
    return !files.given_as.empty() ? files.given_as : bundle ? "--credentials" : flag;
  };
  made_->file_facts_.push_back(
      {files.cert, given_as("--cert"), "certificate", certificates->size()});
  auto key = bundle ? parse_private_key((*cert_text)->view(), files.key) : read_key(files.key);
  if (!key) return std::unexpected(std::move(key.error()));
  made_->file_facts_.push_back({files.key, given_as("--key"), "private key", 1});
  if (bundle) move_leaf_to_front(*certificates, key->get());

  Credentials::KeyPair pair;
  pair.cert_file = files.cert;
  pair.key_file = files.key;
  for (PemCertificate& each : *certificates) {
    CertificateFact fact =
        fact_of(each.certificate.get(), CertificateFact::Role::kServer, files.cert);
    fact.leaf = !pair.leaf;
    made_->certificates_.push_back(std::move(fact));
    if (!pair.leaf) {
      pair.leaf = std::move(each.certificate);
    } else {
      pair.chain.push_back(std::move(each.certificate));
    }
  }

  pair.key = std::move(*key);
  if (X509_check_private_key(pair.leaf.get(), pair.key.get()) != 1) {
    (void)OpensslError::drain();
    return credentials_error(files.key,
                             bundle ? "its private key belongs to none of its certificates"
                                    : "does not belong to the first certificate of " + files.cert);
  }
  if (auto done = check_kind(pair); !done) return done;
  made_->pairs_.push_back(std::move(pair));
  return {};
}

CredentialsLoader::Done CredentialsLoader::check_kind(const Credentials::KeyPair& pair) const {
  for (const Credentials::KeyPair& other : made_->pairs_) {
    if (EVP_PKEY_get_base_id(other.key.get()) != EVP_PKEY_get_base_id(pair.key.get()) ||
        curve_of(other.key.get()) != curve_of(pair.key.get()))
      continue;
    return credentials_error(pair.cert_file, "has a key of the same kind as " + other.cert_file +
                                                 "; one certificate for each kind of key");
  }
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_bundle(const CredentialFiles::Trust& bundle) {
  std::optional<std::string> domain;
  if (bundle.domain) {
    domain = normalise_domain(*bundle.domain);
    if (!domain)
      return credentials_error(
          {}, given_as("--ca") + ": \"" + *bundle.domain + "\" is no SPIFFE trust domain");
  }
  const auto files = files_of(bundle.file);
  if (!files) return std::unexpected(files.error());
  const auto before = std::ssize(trust_->trusted);
  for (const std::string& file : *files)
    if (auto done = add_trusted_file(file, domain); !done) return done;
  const auto is_anchor = [](const auto& trusted) { return trusted.anchor; };
  if (std::none_of(trust_->trusted.begin() + before, trust_->trusted.end(), is_anchor))
    return credentials_error(
        bundle.file,
        "holds no self-signed root; intermediates help building but do not anchor, "
        "unless --partial-chain is given");
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_trusted_file(
    const std::string& file, const std::optional<std::string>& domain) {
  const auto text = read_file(file, FileRules::kPublic);
  if (!text) return std::unexpected(text.error());
  auto certificates = parse_certificates((*text)->view(), file, CertificateUse::kTrusted);
  if (!certificates) return std::unexpected(std::move(certificates.error()));
  trust_->file_facts.push_back({file, given_as("--ca"), "certificate", certificates->size()});
  for (PemCertificate& each : *certificates) {
    auto done = add_trusted(std::move(each.certificate), file, each.line, domain);
    if (!done) return done;
  }
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_trusted(X509Ptr certificate, const std::string& file,
                                                       unsigned line,
                                                       const std::optional<std::string>& domain) {
  give_way();
  // OpenSSL would take a certificate that looks self-signed for an anchor without verifying its
  // signature, so it is verified here.
  const bool looks_self_signed = X509_self_signed(certificate.get(), 0) == 1;
  const bool self_signed = looks_self_signed && X509_self_signed(certificate.get(), 1) == 1;
  const bool anchor = self_signed || made_->settings_.partial_chain;
  if (looks_self_signed && !self_signed)
    return credentials_error(
        file, line, "self-signed certificate with a bad signature: " + OpensslError::drain().text);
  (void)OpensslError::drain();

  CertificateFact fact = fact_of(certificate.get(), CertificateFact::Role::kCa, file);
  fact.anchor = anchor;
  fact.trust_domain = domain;
  if (anchor) add_anchor(certificate.get(), fact);
  trust_->certificates.push_back(std::move(fact));
  trust_->ca_names.add(X509_get_subject_name(certificate.get()), domain);
  trust_->trusted.push_back({std::move(certificate), domain, anchor});
  return {};
}

void CredentialsLoader::set_anchor_expiries() {
  const auto is_in_use = [this](const auto& anchor) { return anchor.second.not_after > now_; };
  auto& anchors = latest_of_anchors_;
  if (std::ranges::any_of(anchors, is_in_use)) std::erase_if(anchors, std::not_fn(is_in_use));
  for (const auto& [key, fact] : anchors) {
    const auto in_file = std::ranges::count_if(
        anchors, [&fact](const auto& other) { return other.second.name == fact.name; });
    std::string name = fact.name;
    if (in_file > 1) name += ": " + fact.subject + ", serial " + fact.serial;
    trust_->anchor_expiries.push_back(
        {to_string(fact.role), std::move(name), fact.not_before, fact.not_after});
  }
}

void CredentialsLoader::add_anchor(const X509* certificate, const CertificateFact& fact) {
  const Sha256 key = public_key_hash(certificate);
  auto known = std::ranges::find(trust_->anchors, key, &Credentials::Anchor::key);
  if (known == trust_->anchors.end())
    known = trust_->anchors.insert(
        known, {.key = key, .unscoped = false, .domains = {}, .certificates = {}});
  if (fact.trust_domain) {
    known->domains.push_back(*fact.trust_domain);
  } else {
    known->unscoped = true;
  }
  PeerTrust::Link link = make_link(certificate);
  // The issuer's key of another is not known here.
  if (X509_self_signed(const_cast<X509*>(certificate), 0) == 1) link.crl_key = key;
  known->certificates.push_back({.name = fact.subject_name,
                                 .not_before = fact.not_before,
                                 .not_after = fact.not_after,
                                 .link = std::move(link)});

  const auto latest =
      std::ranges::find(latest_of_anchors_, key, [](const auto& anchor) { return anchor.first; });
  if (latest == latest_of_anchors_.end()) {
    latest_of_anchors_.emplace_back(key, fact);
  } else if (latest->second.not_after < fact.not_after) {
    latest->second = fact;
  }
}

CredentialsLoader::Done CredentialsLoader::add_crls(const std::string& path) {
  const auto files = files_of(path);
  if (!files) return std::unexpected(files.error());
  for (const std::string& file : *files)
    if (auto done = add_crl_file(file); !done) return done;
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_crl_file(const std::string& file) {
  const auto text = read_file(file, FileRules::kPublic);
  if (!text) return std::unexpected(text.error());
  auto crls = parse_crls((*text)->view(), file);
  if (!crls) return std::unexpected(std::move(crls.error()));
  trust_->file_facts.push_back({file, given_as("--crl"), "CRL", crls->size()});
  for (ParsedCrl& each : *crls)
    if (auto done = add_crl(std::move(each.crl), file, each.line); !done) return done;
  return {};
}

CredentialsLoader::Done CredentialsLoader::add_crl(X509CrlPtr parsed, const std::string& file,
                                                   std::optional<unsigned> line) {
  auto crl = Crl::make(std::move(parsed));
  if (!crl) return credentials_error(file, line, std::move(crl.error()));

  give_way();
  auto signers = signers_of(*crl, file, line);
  if (!signers) return std::unexpected(std::move(signers.error()));

  trust_->crl_facts.push_back({.name = file,
                               .issuer = name_text(crl->issuer_name()),
                               .issuer_name = crl->issuer(),
                               .signers = *signers,
                               .scope = crl->scope(),
                               .number = crl->number(),
                               .this_update = crl->this_update(),
                               .next_update = crl->next_update(),
                               .revoked = crl->entries()});
  trust_->crls.add(*std::move(crl), *std::move(signers));
  return {};
}

// The keys among the bundles that have signed a list. An issuer that only clients send is not known
// before the handshake, which verifies the signature. So it is with the new key of an issuer that
// was re-keyed and whose new certificate is not there: its list covers nothing yet, and must not
// keep other issuers' lists from being renewed.
std::expected<std::vector<Sha256>, CredentialsError> CredentialsLoader::signers_of(
    const Crl& crl, const std::string& file, std::optional<unsigned> line) {
  bool named = false;
  bool anchor_named = false;
  bool key_named = false;
  bool proven = false;
  std::vector<Sha256> signers;
  for (const Credentials::TrustedCertificate& trusted : trust_->trusted) {
    X509* const issuer = trusted.certificate.get();
    if (X509_NAME_cmp(X509_get_subject_name(issuer), crl.issuer_name()) != 0) continue;
    named = true;
    anchor_named = anchor_named || trusted.anchor;
    key_named = key_named || crl.names_key_of(issuer);
    if (!crl.is_signed_by(X509_get0_pubkey(issuer))) continue;
    proven = true;
    if (!may_sign_crls(issuer)) continue;
    signers.push_back(public_key_hash(issuer));
    anchor_has_crl_ = anchor_has_crl_ || trusted.anchor;
  }
  const std::string name = name_text(crl.issuer_name());
  if (proven && signers.empty())
    return credentials_error(file, line, "CRL of an issuer whose keyUsage has no cRLSign, " + name);
  if (proven || !named) return signers;
  if (key_named)
    return credentials_error(file, line,
                             "CRL with a bad signature: it names the key of the issuer in " +
                                 given_as("--ca") + ", " + name);
  CredentialsError unknown{file, line,
                           "no certificate of " + name + " in " + given_as("--ca") +
                               " has the key that signed this CRL: add the new certificate"};
  trust_->warnings.push_back(unknown.message() +
                             "; the CRL covers nothing until a client sends it");
  if (anchor_named) re_keyed_anchor_ = std::move(unknown);
  return signers;
}

// Without a list of any anchor all clients would be refused: the last good state is better.
CredentialsLoader::Done CredentialsLoader::check_anchors_lists() const {
  if (re_keyed_anchor_ && !anchor_has_crl_) return std::unexpected(*re_keyed_anchor_);
  return {};
}

CredentialsLoader::Done CredentialsLoader::set_tickets(const std::optional<std::string>& file) {
  // The file is read even when tickets are off, so that an error in it shows now and not when they
  // are switched on.
  if (file) {
    auto secrets = TicketSecrets::load(*file);
    if (!secrets) return std::unexpected(secrets.error());
    made_->file_facts_.push_back({*file, "--ticket-keys", "ticket secret", (*secrets)->size()});
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
  for (const Credentials::TrustedCertificate& trusted : trust_->trusted) {
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
  out.u8(static_cast<std::uint8_t>(made_->settings_.client_eku));
  out.u8(made_->settings_.partial_chain ? 1 : 0);
  for (const Sha256& entry : entries) out.raw(std::as_bytes(std::span(entry)));
  trust_->digest = sha256(out.bytes());
}

}  // namespace sallyport::ktls
