#include "ktls/handshake/context_settings.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstdint>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "ktls/base/give_way.h"
#include "ktls/handshake/engine.h"
#include "ktls/handshake/tls_library.h"
#include "ktls/keys/suite.h"
#include "ktls/openssl/tuned_library.h"
#include "ktls/trust/certificate_message.h"
#include "ktls/trust/verify_settings.h"

namespace sallyport::ktls {
namespace {

using Done = std::expected<void, CredentialsError>;

/// In the order of preference, each where OpenSSL has it: X25519MLKEM768 since 3.5; X25519 not from
/// a FIPS provider. A client offers P-384 for the sake of certificates: in TLS 1.2 a server shows
/// only those on curves that were offered (RFC 8422 5.1).
constexpr const char* kServerGroups[] = {"X25519MLKEM768", "X25519", "P-256"};
constexpr const char* kClientGroups[] = {"X25519MLKEM768", "X25519", "P-256", "P-384"};

/// The suites of TLS 1.2 that protect records as `suites`, TLS 1.3 names with colons between, in
/// their order. What is not ours is left out.
std::string tls12_cipher_list(std::string_view suites) {
  std::string list;
  for (const auto part : std::views::split(suites, ':')) {
    const auto wanted = suite_from_name(std::string_view(part.begin(), part.end()));
    for (const Tls12Suite& candidate : kTls12Suites) {
      if (candidate.records != wanted) continue;
      if (!list.empty()) list += ':';
      list += candidate.name;
    }
  }
  return list;
}

/// Those of `groups` that `ctx` has, with colons between. Changes the groups of `ctx`.
std::string known_groups(SSL_CTX* ctx, std::span<const char* const> groups) {
  std::string list;
  for (const char* group : groups) {
    if (SSL_CTX_set1_groups_list(ctx, group) != 1) continue;
    if (!list.empty()) list += ':';
    list += group;
  }
  (void)OpensslError::drain();
  return list;
}

bool has_suite(const SSL_CTX* ctx, std::string_view name) {
  const STACK_OF(SSL_CIPHER)* suites = SSL_CTX_get_ciphers(ctx);
  for (int i = 0; i < sk_SSL_CIPHER_num(suites); ++i)
    if (SSL_CIPHER_get_name(sk_SSL_CIPHER_value(suites, i)) == name) return true;
  return false;
}

Done set_versions(SSL_CTX* ctx, RecordVersion min_version) {
  const int min = min_version == RecordVersion::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  if (SSL_CTX_set_min_proto_version(ctx, min) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1)
    return credentials_error({}, "OpenSSL lacks a version of TLS: " + OpensslError::drain().text);
  return {};
}

void set_limits(SSL_CTX* ctx) {
  SSL_CTX_set_security_level(ctx, kSecurityLevel);
  SSL_CTX_set_max_cert_list(ctx, static_cast<long>(kMaxCertificateMessage));
  std::uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION  // OpenSSL 3.2: no decompression for unauthenticated
                                             // peers
  options |= SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION;
#endif
  SSL_CTX_set_options(ctx, options);
  SSL_CTX_clear_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
  // OpenSSL must not build our own chain in each handshake: the chain sent is that of the file.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

Done set_suites(SSL_CTX* ctx, const HandshakeSettings& settings, RecordVersion min_version) {
  std::string suites;
  for (const std::string& suite : settings.ciphersuites) {
    if (!suite_from_name(suite))
      return credentials_error({}, "--ciphersuites: unknown suite \"" + suite + '"');
    if (!suites.empty()) suites += ':';
    suites += suite;
  }
  if (suites.empty()) suites = OSSL_default_ciphersuites();
  if (SSL_CTX_set_ciphersuites(ctx, suites.c_str()) != 1)
    return credentials_error({}, "--ciphersuites: " + OpensslError::drain().text);
  for (const std::string& suite : settings.ciphersuites)
    if (!has_suite(ctx, suite))
      return credentials_error({}, "--ciphersuites: this OpenSSL does not have \"" + suite + '"');
  if (min_version == RecordVersion::kTls12 &&
      SSL_CTX_set_cipher_list(ctx, tls12_cipher_list(suites).c_str()) != 1)
    return credentials_error(
        {}, "OpenSSL has no suite of TLS 1.2 for these: " + OpensslError::drain().text);
  return {};
}

Done set_groups(SSL_CTX* ctx, Role role, const std::string& groups) {
  if (!groups.empty()) {
    if (SSL_CTX_set1_groups_list(ctx, groups.c_str()) == 1) return {};
    (void)OpensslError::drain();
    return credentials_error(
        {}, "--groups: \"" + groups + "\" holds a group that this OpenSSL does not know");
  }
  const std::string known =
      known_groups(ctx, role == Role::kServer ? std::span<const char* const>(kServerGroups)
                                              : std::span<const char* const>(kClientGroups));
  if (SSL_CTX_set1_groups_list(ctx, known.c_str()) != 1)
    return credentials_error({},
                             "OpenSSL has neither X25519 nor P-256: " + OpensslError::drain().text);
  return {};
}

Done set_pair(SSL_CTX* ctx, const Credentials::KeyPair& pair,
              const CurveCertificates::Certificate& copy) {
  if (SSL_CTX_use_certificate(ctx, copy.leaf.get()) != 1)
    return credentials_error(pair.cert_file, "cannot be used: " + OpensslError::drain().text);
  if (SSL_CTX_use_PrivateKey(ctx, copy.key.get()) != 1)
    return credentials_error(pair.key_file, "cannot be used: " + OpensslError::drain().text);
  // It is that of the certificate that was set last.
  if (SSL_CTX_set1_chain(ctx, copy.chain.get()) != 1)
    return credentials_error(pair.cert_file, "chain cannot be used: " + OpensslError::drain().text);
  return {};
}

Done fill_store(X509_STORE* store, const Credentials& credentials) {
  for (const Credentials::TrustedCertificate& trusted : credentials.trusted()) {
    give_way();
    const X509Ptr copy(X509_dup(trusted.certificate.get()));
    if (!copy || X509_STORE_add_cert(store, copy.get()) != 1)
      return credentials_error({}, "trust bundle: " + OpensslError::drain().text);
  }
  return {};
}

}  // namespace

std::chrono::sys_seconds wall_clock_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

// Certificates and keys stay in the default context, where they were loaded: OpenSSL copies a key
// to the other context when it is first used there, and caches it.
OSSL_LIB_CTX* library_for(std::span<const std::shared_ptr<const Credentials>> credentials) {
  OSSL_LIB_CTX* library = tls_library(credentials.front()->settings().tuned_openssl).context;
  const auto known = [library](const EvpPkeyPtr& key) {
    return supports_key_type(library, key.get());
  };
  const auto trusts_known = [library](const Credentials::TrustedCertificate& trusted) {
    return supports_key_type(library, X509_get0_pubkey(trusted.certificate.get()));
  };
  std::set<const void*> seen;
  for (const auto& each : credentials) {
    if (!std::ranges::all_of(each->pairs(), known, &Credentials::KeyPair::key)) return nullptr;
    if (!seen.insert(&each->trusted()).second) continue;
    if (!std::ranges::all_of(each->trusted(), trusts_known)) return nullptr;
  }
  return library;
}

std::expected<SslCtxPtr, CredentialsError> make_context(OSSL_LIB_CTX* library, Role role,
                                                        const HandshakeSettings& settings,
                                                        RecordVersion min_version) {
  ERR_clear_error();
  SslCtxPtr ctx(SSL_CTX_new_ex(library, nullptr,
                               role == Role::kServer ? TLS_server_method() : TLS_client_method()));
  if (!ctx) return credentials_error({}, "OpenSSL: " + OpensslError::drain().text);
  HandshakeEngine::install(ctx.get(), library == nullptr);
  give_way();
  Done done = set_versions(ctx.get(), min_version);
  if (done) done = set_suites(ctx.get(), settings, min_version);
  if (done) done = set_groups(ctx.get(), role, settings.groups);
  if (!done) return std::unexpected(std::move(done.error()));
  set_limits(ctx.get());
  return ctx;
}

std::expected<void, CredentialsError> set_certificates(SSL_CTX* ctx, const Credentials& credentials,
                                                       CurveCertificates& curves) {
  give_way();
  bool has_ec = false;
  for (const Credentials::KeyPair& pair : credentials.pairs()) {
    CurveCertificates::Certificate copy{.leaf = X509Ptr(X509_dup(pair.leaf.get())),
                                        .chain = X509StackPtr(sk_X509_new_null()),
                                        .key = EvpPkeyPtr(EVP_PKEY_dup(pair.key.get()))};
    if (!copy.leaf || !copy.chain || !copy.key)
      return credentials_error(pair.cert_file, OpensslError::drain().text);
    for (const X509Ptr& certificate : pair.chain) {
      X509Ptr each(X509_dup(certificate.get()));
      if (!each || X509_add_cert(copy.chain.get(), each.get(), X509_ADD_FLAG_UP_REF) != 1)
        return credentials_error(pair.cert_file, OpensslError::drain().text);
    }
    const bool ec = EVP_PKEY_is_a(copy.key.get(), "EC") == 1;
    const bool beside_another_curve = ec && std::exchange(has_ec, has_ec || ec);
    if (!beside_another_curve) {
      if (auto done = set_pair(ctx, pair, copy); !done) return done;
    }
    if (ec) curves.add(std::move(copy));
  }
  return {};
}

std::expected<void, CredentialsError> set_trust(SSL_CTX* ctx, const Credentials& credentials,
                                                const SSL_CTX* of_same_trust) {
  give_way();
  SSL_CTX_set_verify_depth(ctx, kMaxIntermediates);
  if (of_same_trust != nullptr) {
    SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(of_same_trust));
    return {};
  }
  const X509StorePtr store(X509_STORE_new());
  if (!store) return credentials_error({}, OpensslError::drain().text);
  if (auto done = fill_store(store.get(), credentials); !done) return done;
  SSL_CTX_set1_cert_store(ctx, store.get());
  return {};
}

}  // namespace sallyport::ktls
