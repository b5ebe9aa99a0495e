#include "ktls/trust/verify_chain.h"

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "ktls/base/openssl_handles.h"
#include "ktls/trust/identity.h"
#include "ktls/trust/path_search.h"
#include "ktls/trust/presented_certificate.h"
#include "ktls/trust/verify_error.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

// The longest serial that PeerTrust takes. RFC 5280 4.1.2.2 allows 20 bytes; some CAs use more.
constexpr std::size_t kMaxSerial = 64;

struct Refusal {
  HandshakeFailure failure;
  int error = X509_V_ERR_UNSPECIFIED;  // for which OpenSSL sends the alert
  bool of_leaf = false;                // for what the leaf says of itself: no other path helps
};
using Judged = std::expected<std::shared_ptr<const PeerTrust>, Refusal>;

// By what a chain is judged.
struct Rules {
  const Credentials& credentials;
  std::chrono::sys_seconds now;
  Role peer;
};

// `error` is the X509_V_ERR_* that OpenSSL is told where no alert is promised for `result`.
std::unexpected<Refusal> refuse(HandshakeResult result, std::string detail, const X509* certificate,
                                int error) {
  HandshakeFailure failure{.result = result, .detail = std::move(detail)};
  failure.issuer = name_text(X509_get_issuer_name(certificate));
  failure.serial = serial_text(X509_get0_serialNumber(certificate));
  failure.not_after = to_time(X509_get0_notAfter(certificate));
  return std::unexpected(Refusal{.failure = std::move(failure),
                                 .error = verify_error_for_alert(result, error),
                                 .of_leaf = false});
}

std::unexpected<Refusal> refuse_as_malformed(std::string detail, const X509* leaf) {
  auto refused = refuse(HandshakeResult::kCertificateMalformed, std::move(detail), leaf,
                        X509_V_ERR_CERT_REJECTED);
  refused.error().of_leaf = true;
  return refused;
}

// Refuses the chain for the error that OpenSSL found, and names the certificate that has it.
std::unexpected<Refusal> refuse_as_openssl(X509_STORE_CTX* store, const X509* leaf) {
  using enum HandshakeResult;
  int error = X509_STORE_CTX_get_error(store);
  if (error == X509_V_OK) error = X509_V_ERR_UNSPECIFIED;
  HandshakeResult result = result_of_verify_error(error);
  // Where extensions cannot be decoded, OpenSSL's error is about something that it did not find in
  // them, mostly an issuer.
  const bool unreadable = (X509_get_extension_flags(const_cast<X509*>(leaf)) & EXFLAG_INVALID) != 0;
  if (unreadable) result = kCertificateMalformed;
  const X509* culprit = X509_STORE_CTX_get_current_cert(store);
  if (culprit == nullptr) culprit = leaf;
  // To OpenSSL a leaf without digitalSignature has another purpose.
  if (result == kCertificatePurposeInvalid && culprit == leaf) {
    auto identity = identify(leaf);
    if (!identity) return refuse_as_malformed(std::move(identity.error()), leaf);
  }
  std::string detail = X509_verify_cert_error_string(error);
  if (unreadable) detail += " (extensions cannot be decoded)";
  detail += ": " + name_text(X509_get_subject_name(culprit));
  auto refused = refuse(result, std::move(detail), culprit, error);
  refused.error().of_leaf =
      unreadable ||
      (culprit == leaf && (result == kCertificateExpired || result == kCertificateNotYetValid ||
                           result == kCertificatePurposeInvalid));
  return refused;
}

// With the steps of a chain that leads to an anchor. It is judged once more for them: those that
// are let in do not pay for steps.
std::unexpected<Refusal> with_steps(std::unexpected<Refusal> refused, const Rules& rules,
                                    const PeerTrust& trust) {
  (void)rules.credentials.judge(trust, rules.now, &refused.error().failure.steps);
  return refused;
}

// Refuses the chain for its revocation, in OpenSSL's words.
std::unexpected<Refusal> refuse_revoked(X509_STORE_CTX* store, const TrustVerdict& verdict) {
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(store);
  const X509* culprit = sk_X509_value(chain, static_cast<int>(verdict.depth));
  if (culprit == nullptr) culprit = X509_STORE_CTX_get0_cert(store);
  const bool revoked = verdict.revocation == HandshakeResult::kCertificateRevoked;
  const int error = revoked ? X509_V_ERR_CERT_REVOKED
                    : verdict.revocation == HandshakeResult::kCrlExpired
                        ? X509_V_ERR_CRL_HAS_EXPIRED
                        : X509_V_ERR_UNABLE_TO_GET_CRL;
  std::string detail = X509_verify_cert_error_string(error);
  detail += ": " + name_text(X509_get_subject_name(culprit));
  auto refused = refuse(verdict.revocation, std::move(detail), culprit, error);
  refused.error().of_leaf = revoked && verdict.depth == 0;
  return refused;
}

// By what OpenSSL judges a chain, beside its own settings of a server or client.
void set_parameters(X509_STORE_CTX* store, const Rules& rules) {
  const HandshakeSettings& settings = rules.credentials.settings();
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(store);
  X509_VERIFY_PARAM_set_time(parameters, rules.now.time_since_epoch().count());
  if (settings.partial_chain) X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
  if (rules.peer == Role::kClient && settings.client_eku == ClientEku::kIgnore)
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_ANY);
}

// What is wrong with the usage of a leaf's key, where it is not OpenSSL that looks at it.
std::optional<std::string> wrong_usage_by_client(const X509* leaf, ClientEku eku) {
  X509* const cached = const_cast<X509*>(leaf);
  const std::uint32_t flags = X509_get_extension_flags(cached);
  if (eku == ClientEku::kRequire && (flags & EXFLAG_XKUSAGE) == 0)
    return "no extendedKeyUsage, which --client-eku requires";
  // OpenSSL's purpose of a client has this as well.
  if (eku == ClientEku::kIgnore &&
      (X509_get_key_usage(cached) & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)) == 0)
    return "keyUsage without digitalSignature";
  return std::nullopt;
}

// OpenSSL's purpose of a server also takes the usages of server gated cryptography, and keys that
// do not sign, which none of our suites is for (RFC 8446 4.4.2.2).
std::optional<std::string> wrong_usage_by_server(const X509* leaf) {
  X509* const cached = const_cast<X509*>(leaf);
  if ((X509_get_extended_key_usage(cached) & XKU_SSL_SERVER) == 0)  // all bits for none
    return "extendedKeyUsage without serverAuth";
  if ((X509_get_key_usage(cached) & KU_DIGITAL_SIGNATURE) == 0)
    return "keyUsage without digitalSignature";
  return std::nullopt;
}

std::optional<std::string> wrong_usage(const X509* leaf, const Rules& rules) {
  return rules.peer == Role::kServer
             ? wrong_usage_by_server(leaf)
             : wrong_usage_by_client(leaf, rules.credentials.settings().client_eku);
}

// Judges the one path that OpenSSL finds from the leaf of `store`, which is prepared for it.
Judged judge(X509_STORE_CTX* store, const Rules& rules) {
  const Credentials& credentials = rules.credentials;
  const X509* const leaf = X509_STORE_CTX_get0_cert(store);
  if (X509_verify_cert(store) != 1) return refuse_as_openssl(store, leaf);

  auto identity = identify(leaf);
  if (!identity) return refuse_as_malformed(std::move(identity.error()), leaf);
  if (auto wrong = wrong_usage(leaf, rules)) {
    auto refused = refuse(HandshakeResult::kCertificatePurposeInvalid, *std::move(wrong), leaf,
                          X509_V_ERR_INVALID_PURPOSE);
    refused.error().of_leaf = true;
    return refused;
  }
  PeerTrust trust = make_peer_trust(X509_STORE_CTX_get0_chain(store), std::move(*identity));
  const auto too_long = [](const PeerTrust::Link& link) { return link.serial.size() > kMaxSerial; };
  if (std::ranges::any_of(trust.links, too_long))
    return refuse_as_malformed("serial number of more than 64 bytes", leaf);

  switch (credentials.vouches(trust.anchor_key, trust.identity)) {
    case Credentials::Vouches::kEverything:
      break;
    case Credentials::Vouches::kSpiffeOnly:
      trust.identity.dns.clear();
      break;
    case Credentials::Vouches::kNothing:
      return with_steps(
          refuse(HandshakeResult::kCertificateAuthorityInvalid,
                 "the authority's bundle does not vouch for " +
                     (trust.identity.spiffe.empty() ? "certificates without a SPIFFE ID"
                                                    : trust.identity.spiffe),
                 leaf, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
          rules, trust);
  }
  const TrustVerdict verdict =
      credentials.judge(X509_STORE_CTX_get0_chain(store), trust, rules.now);
  if (verdict.revocation != HandshakeResult::kSuccess)
    return with_steps(refuse_revoked(store, verdict), rules, trust);
  return std::shared_ptr<const PeerTrust>(new PeerTrust(std::move(trust)));
}

bool is_path_of(const STACK_OF(X509) * chain, CertificatePath path) {
  if (sk_X509_num(chain) != static_cast<int>(path.size())) return false;
  for (std::size_t i = 0; i < path.size(); ++i)
    if (sk_X509_value(chain, static_cast<int>(i)) != path[i]) return false;
  return true;
}

X509StackPtr stack_of(CertificatePath certificates) {
  X509StackPtr stack(sk_X509_new_null());
  if (!stack) throw std::bad_alloc();
  for (X509* const each : certificates)
    if (X509_add_cert(stack.get(), each, X509_ADD_FLAG_UP_REF) != 1) throw std::bad_alloc();
  return stack;
}

// Keeps OpenSSL on the path of its context: by name it could also take the anchor for the issuer of
// every certificate of that name.
int is_next_of_path(X509_STORE_CTX* context, X509* certificate, X509* issuer) {
  const auto& path = *static_cast<const CertificatePath*>(X509_STORE_CTX_get_app_data(context));
  const auto at = std::ranges::find(path, certificate);
  const bool next = at != path.end() && at + 1 != path.end() && *(at + 1) == issuer;
  return next && X509_check_issued(issuer, certificate) == X509_V_OK ? 1 : 0;
}

// Judges one path, by the parameters of `store`, which gets its chain if that is good.
Judged judge_path(X509_STORE_CTX* store, CertificatePath path, const Rules& rules) {
  const CertificatePath below = path.first(path.size() - 1);  // nothing if the leaf is the anchor
  const X509StackPtr between = stack_of(below.subspan(below.empty() ? 0 : 1));
  const X509StackPtr anchor = stack_of(path.last(1));
  const X509StorePtr store_of_path(X509_STORE_new());
  const OpensslPtr<X509_STORE_CTX, X509_STORE_CTX_free> alone(X509_STORE_CTX_new());
  if (!store_of_path || !alone) throw std::bad_alloc();
  X509_STORE_set_check_issued(store_of_path.get(), is_next_of_path);
  if (X509_STORE_CTX_init(alone.get(), store_of_path.get(), path.front(), between.get()) != 1 ||
      X509_STORE_CTX_set_app_data(alone.get(), &path) != 1 ||
      X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(alone.get()),
                             X509_STORE_CTX_get0_param(store)) != 1)
    throw std::bad_alloc();
  X509_STORE_CTX_set0_trusted_stack(alone.get(), anchor.get());
  Judged judged = judge(alone.get(), rules);
  if (judged) X509_STORE_CTX_set0_verified_chain(store, X509_STORE_CTX_get1_chain(alone.get()));
  return judged;
}

// Tries the other paths of a chain that was refused: one that is good is enough. If none is, a path
// that leads to an anchor says more than one that does not.
void try_other_paths(X509_STORE_CTX* store, const Rules& rules, Judged& judged) {
  search_paths(store, [&](CertificatePath path) {
    if (is_path_of(X509_STORE_CTX_get0_chain(store), path)) return false;
    Judged other = judge_path(store, path, rules);
    const bool good = other.has_value();
    if (good || judged.error().failure.result == HandshakeResult::kCertificateAuthorityInvalid)
      judged = std::move(other);
    return good;
  });
}

}  // namespace

std::expected<std::shared_ptr<const PeerTrust>, HandshakeFailure> verify_chain(
    X509_STORE_CTX* store, const Credentials& credentials, ChainCache& cache,
    std::chrono::sys_seconds now, Role peer) {
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const auto name = chain_name(leaf, X509_STORE_CTX_get0_untrusted(store));
  auto cached = name ? cache.find(*name) : nullptr;
  if (cached && credentials.judge(*cached, now).passed()) {
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return cached;
  }

  const Rules rules{.credentials = credentials, .now = now, .peer = peer};
  set_parameters(store, rules);
  Judged judged = judge(store, rules);
  if (!judged && !judged.error().of_leaf) try_other_paths(store, rules, judged);
  X509_STORE_CTX_set_error(store, judged ? X509_V_OK : judged.error().error);
  if (!judged) {
    HandshakeFailure& failure = judged.error().failure;
    failure.presented = std::make_shared<const PresentedCertificate>(presented(leaf));
    if (failure.steps.empty()) failure.steps.push_back({"chain", false, failure.detail});
    return std::unexpected(std::move(failure));
  }
  if (name) cache.remember(*name, *judged);
  return *std::move(judged);
}

}  // namespace sallyport::ktls
