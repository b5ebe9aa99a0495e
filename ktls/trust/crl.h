#pragma once

#include <openssl/x509.h>

#include <chrono>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/crl_number.h"
#include "ktls/trust/crl_scope.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// A CRL whose scope can be honoured. Immutable; any thread.
class Crl {
 public:
  /// The text of an error names the extension, see read_crl_scope(), or the time that cannot be
  /// decoded. The signature is not verified.
  static std::expected<Crl, std::string> make(X509CrlPtr crl);

  const X509_NAME* issuer_name() const noexcept { return X509_CRL_get_issuer(crl_.get()); }
  const NameHash& issuer() const noexcept { return issuer_; }
  const CrlScope& scope() const noexcept { return scope_; }
  const std::optional<CrlNumber>& number() const noexcept { return number_; }
  std::chrono::sys_seconds this_update() const noexcept { return this_update_; }
  std::optional<std::chrono::sys_seconds> next_update() const noexcept { return next_update_; }
  std::size_t entries() const noexcept;

  /// Tens of µs, and more for long lists.
  bool is_signed_by(EVP_PKEY* key) const;
  /// Whether its authorityKeyIdentifier is the subjectKeyIdentifier of `issuer`; false where either
  /// is missing.
  bool names_key_of(X509* issuer) const;
  bool has_entry(const ASN1_INTEGER* serial) const noexcept;

 private:
  Crl() = default;

  X509CrlPtr crl_;
  NameHash issuer_{};
  CrlScope scope_;
  std::optional<CrlNumber> number_;
  std::chrono::sys_seconds this_update_;
  std::optional<std::chrono::sys_seconds> next_update_;
};

}  // namespace sallyport::ktls
