#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/credentials_error.h"

namespace sallyport::ktls {

/// Builds one generation of Credentials for Credentials::load(); used once.
class CredentialsLoader {
 public:
  explicit CredentialsLoader(HandshakeSettings settings);

  std::expected<std::shared_ptr<const Credentials>, CredentialsError> load(
      const CredentialFiles& files, const Credentials* of_same_trust);

 private:
  using Done = std::expected<void, CredentialsError>;

  Done load_trust(const CredentialFiles& files);
  Done add_pair(const CredentialFiles::Pair& files);
  Done check_kind(const Credentials::KeyPair& pair) const;
  Done add_bundle(const CredentialFiles::Trust& bundle);
  std::string given_as(const char* flag) const;
  Done add_trusted_file(const std::string& file, const std::optional<std::string>& domain);
  Done add_trusted(X509Ptr certificate, const std::string& file, unsigned line,
                   const std::optional<std::string>& domain);
  Done add_crls(const std::string& path);
  Done add_crl_file(const std::string& file);
  Done add_crl(X509CrlPtr parsed, const std::string& file, std::optional<unsigned> line);
  std::expected<std::vector<Sha256>, CredentialsError> signers_of(const Crl& crl,
                                                                  const std::string& file,
                                                                  std::optional<unsigned> line);
  Done check_anchors_lists() const;
  Done set_tickets(const std::optional<std::string>& file);
  void add_anchor(const X509* certificate, const CertificateFact& fact);
  void set_anchor_expiries();
  void set_trust_digest();

  const std::chrono::sys_seconds now_;
  std::shared_ptr<Credentials> made_;
  std::shared_ptr<Credentials::Trust> trust_;  ///< null: it is shared
  std::string trust_given_as_;
  /// The certificate of the latest notAfter of each anchor's key.
  std::vector<std::pair<Sha256, CertificateFact>> latest_of_anchors_;
  bool anchor_has_crl_ = false;
  /// A list that names an anchor, and that no certificate of that name has signed.
  std::optional<CredentialsError> re_keyed_anchor_;
};

}  // namespace sallyport::ktls
