#include "ktls/trust/verify_chain.h"

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string>
#include <utility>

#include "ktls/trust/identity.h"
#include "ktls/trust/verify_error.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// The longest serial that PeerTrust takes. RFC 5280 4.1.2.2 allows 20 bytes; some CAs use more.
constexpr std::size_t kMaxSerial = 64;

HandshakeFailure describe(HandshakeResult result, std::string detail, const X509* certificate) {
  HandshakeFailure failure{.result = result, .detail = std::move(detail)};
  failure.issuer = name_text(X509_get_issuer_name(certificate));
  failure.serial = serial_text(X509_get0_serialNumber(certificate));
  failure.not_after = to_time(X509_get0_notAfter(certificate));
  return failure;
}

// `error` is the X509_V_ERR_* that OpenSSL is told where no alert is promised for `result`.
std::unexpected<HandshakeFailure> refuse(X509_STORE_CTX* store, HandshakeResult result,
                                         std::string detail, const X509* certificate, int error) {
  X509_STORE_CTX_set_error(store, verify_error_for_alert(result, error));
  return std::unexpected(describe(result, std::move(detail), certificate));
}

std::unexpected<HandshakeFailure> refuse_as_malformed(X509_STORE_CTX* store, std::string detail,
                                                      const X509* leaf) {
  return refuse(store, HandshakeResult::kCertificateMalformed, std::move(detail), leaf,
                X509_V_ERR_CERT_REJECTED);
}

// Refuses the chain for the error that OpenSSL found, and names the certificate that has it.
std::unexpected<HandshakeFailure> refuse_as_openssl(X509_STORE_CTX* store, const X509* leaf) {
  int error = X509_STORE_CTX_get_error(store);
  if (error == X509_V_OK) error = X509_V_ERR_UNSPECIFIED;
  HandshakeResult result = result_of_verify_error(error);
  // Where extensions cannot be decoded, OpenSSL's error is about something that it did not find in
  // them, mostly an issuer.
  const bool unreadable = (X509_get_extension_flags(const_cast<X509*>(leaf)) & EXFLAG_INVALID) != 0;
  if (unreadable) result = HandshakeResult::kCertificateMalformed;
  const X509* culprit = X509_STORE_CTX_get_current_cert(store);
  if (culprit == nullptr) culprit = leaf;
  // To OpenSSL a leaf without digitalSignature has another purpose.
  if (result == HandshakeResult::kCertificatePurposeInvalid && culprit == leaf) {
    const auto identity = identify(leaf);
    if (!identity) return refuse_as_malformed(store, identity.error(), leaf);
  }
  std::string detail = X509_verify_cert_error_string(error);
  if (unreadable) detail += " (extensions cannot be decoded)";
  detail += ": " + name_text(X509_get_subject_name(culprit));
  return refuse(store, result, std::move(detail), culprit, error);
}

// Refuses the chain for its revocation, in OpenSSL's words.
std::unexpected<HandshakeFailure> refuse_revoked(X509_STORE_CTX* store,
                                                 const Credentials::Revocation& revocation) {
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(store);
  const X509* culprit = sk_X509_value(chain, static_cast<int>(revocation.depth));
  if (culprit == nullptr) culprit = X509_STORE_CTX_get0_cert(store);
  const int error =
      revocation.result == HandshakeResult::kCertificateRevoked ? X509_V_ERR_CERT_REVOKED
      : revocation.result == HandshakeResult::kCrlExpired       ? X509_V_ERR_CRL_HAS_EXPIRED
                                                                : X509_V_ERR_UNABLE_TO_GET_CRL;
  std::string detail = X509_verify_cert_error_string(error);
  detail += ": " + name_text(X509_get_subject_name(culprit));
  return refuse(store, revocation.result, std::move(detail), culprit, error);
}

}  // namespace

std::expected<std::shared_ptr<const PeerTrust>, HandshakeFailure> verify_chain(
    X509_STORE_CTX* store, const Credentials& credentials, ChainCache& cache,
    std::chrono::sys_seconds now) {
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const auto name = chain_name(leaf, X509_STORE_CTX_get0_untrusted(store));
  auto cached = name ? cache.find(*name) : nullptr;
  if (cached && credentials.revalidate(*cached, now) == HandshakeResult::kSuccess) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return cached;
  }

  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), now.time_since_epoch().count());
  if (X509_verify_cert(store) != 1) return refuse_as_openssl(store, leaf);

  auto identity = identify(leaf);
  if (!identity) return refuse_as_malformed(store, std::move(identity.error()), leaf);
  PeerTrust trust = make_peer_trust(X509_STORE_CTX_get0_chain(store), std::move(*identity));
  const auto too_long = [](const PeerTrust::Link& link) { return link.serial.size() > kMaxSerial; };
  if (std::ranges::any_of(trust.links, too_long))
    return refuse_as_malformed(store, "serial number of more than 64 bytes", leaf);

  switch (credentials.vouches(trust.anchor_key, trust.identity)) {
    case Credentials::Vouches::kEverything:
      break;
    case Credentials::Vouches::kSpiffeOnly:
      trust.identity.dns.clear();
      break;
    case Credentials::Vouches::kNothing:
      return refuse(store, HandshakeResult::kCertificateAuthorityInvalid,
                    "the authority's bundle does not vouch for " +
                        (trust.identity.spiffe.empty() ? "certificates without a SPIFFE ID"
                                                       : trust.identity.spiffe),
                    leaf, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
  }
  const auto revocation =
      credentials.check_revocation(X509_STORE_CTX_get0_chain(store), trust, now);
  if (revocation.result != HandshakeResult::kSuccess) return refuse_revoked(store, revocation);

  std::shared_ptr<const PeerTrust> verified(new PeerTrust(std::move(trust)));
  if (name) cache.remember(*name, verified);
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return verified;
}

}  // namespace sallyport::ktls
