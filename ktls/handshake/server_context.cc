#include "ktls/handshake/server_context.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <ranges>
#include <set>
#include <utility>

#include "ktls/base/give_way.h"
#include "ktls/base/wire.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/handshake/tls_library.h"
#include "ktls/keys/suite.h"
#include "ktls/openssl/tuned_library.h"
#include "ktls/trust/certificate_message.h"
#include "ktls/trust/verify_settings.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

void free_names(STACK_OF(X509_NAME) * names) noexcept {
  sk_X509_NAME_pop_free(names, X509_NAME_free);
}

/// In the order of preference, each where OpenSSL has it: X25519MLKEM768 since 3.5; X25519 not from
/// a FIPS provider.
constexpr const char* kGroups[] = {"X25519MLKEM768", "X25519", "P-256"};

// The caller gives the stack to OpenSSL.
STACK_OF(X509_NAME) * copy_of(const std::vector<const X509_NAME*>& names) {
  OpensslPtr<STACK_OF(X509_NAME), free_names> copies(sk_X509_NAME_new_null());
  if (!copies || sk_X509_NAME_reserve(copies.get(), static_cast<int>(names.size())) == 0)
    throw std::bad_alloc();
  for (const X509_NAME* name : names) {
    X509_NAME* const copy = X509_NAME_dup(name);
    if (copy == nullptr) throw std::bad_alloc();
    sk_X509_NAME_push(copies.get(), copy);  // there is room
  }
  return copies.release();
}

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

/// Those of kGroups that `ctx` has, with colons between. Changes the groups of `ctx`.
std::string known_groups(SSL_CTX* ctx) {
  std::string list;
  for (const char* group : kGroups) {
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

}  // namespace

std::chrono::sys_seconds wall_clock_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::expected<std::shared_ptr<const Credentials>, CredentialsError> load_usable_credentials(
    const CredentialFiles& files, HandshakeSettings settings, const Credentials* of_same_trust) {
  auto credentials = Credentials::load(files, std::move(settings), of_same_trust);
  if (!credentials) return credentials;
  const bool with_trust = of_same_trust == nullptr;  // else that of an earlier trial
  if (auto tried = ServerContext::try_out(*credentials, with_trust); !tried)
    return std::unexpected(std::move(tried.error()));
  return credentials;
}

std::expected<void, CredentialsError> ServerContext::try_out(
    std::shared_ptr<const Credentials> credentials, bool with_trust) {
  ServerContext trial;
  trial.library_ = library_for(std::span(&credentials, 1));
  trial.credentials_ = std::move(credentials);
  if (auto done = trial.set_up(); !done || !with_trust) return done;
  return trial.set_trust(nullptr);
}

std::expected<std::shared_ptr<ServerContext>, CredentialsError> ServerContext::create(
    std::shared_ptr<const Credentials> credentials, std::string_view listener_set,
    WallClock clock) {
  const Shared shared{.library = library_for(std::span(&credentials, 1)), .of_same_trust = nullptr};
  return create(std::move(credentials), listener_set, shared, clock);
}

std::expected<std::shared_ptr<ServerContext>, CredentialsError> ServerContext::create(
    std::shared_ptr<const Credentials> credentials, std::string_view listener_set,
    const Shared& shared, WallClock clock) {
  std::shared_ptr<ServerContext> context(new ServerContext);
  context->credentials_ = std::move(credentials);
  context->clock_ = clock;
  context->library_ = shared.library;
  auto done = context->set_up();
  if (done) done = context->set_trust(shared.of_same_trust);
  if (!done) return std::unexpected(std::move(done.error()));
  context->set_tickets(listener_set);
  return context;
}

std::expected<void, CredentialsError> ServerContext::set_up() {
  ERR_clear_error();
  ctx_.reset(SSL_CTX_new_ex(library_, nullptr, TLS_server_method()));
  if (!ctx_) return credentials_error({}, "OpenSSL: " + OpensslError::drain().text);
  HandshakeEngine::install(ctx_.get(), library_ == nullptr);
  ServerHandshake::install_callbacks(ctx_.get());
  give_way();
  if (auto done = set_settings(); !done) return done;
  give_way();
  return set_pairs();
}

// Certificates and keys stay in the default context, where they were loaded: OpenSSL copies a key
// to the other context when it is first used there, and caches it.
OSSL_LIB_CTX* ServerContext::library_for(
    std::span<const std::shared_ptr<const Credentials>> credentials) {
  OSSL_LIB_CTX* library = tls_library(credentials.front()->settings().tuned_openssl).context;
  const auto known = [library](const EvpPkeyPtr& key) {
    return supports_key_type(library, key.get());
  };
  const auto trusts_known = [library](const Credentials::TrustedCertificate& trusted) {
    return supports_key_type(library, X509_get0_pubkey(trusted.certificate.get()));
  };
  std::set<const Credentials::Trust*> seen;
  for (const auto& each : credentials) {
    if (!std::ranges::all_of(each->pairs_, known, &Credentials::KeyPair::key)) return nullptr;
    if (!seen.insert(each->trust_.get()).second) continue;
    if (!std::ranges::all_of(each->trust_->trusted, trusts_known)) return nullptr;
  }
  return library;
}

std::expected<void, CredentialsError> ServerContext::set_settings() {
  SSL_CTX* ctx = ctx_.get();
  const HandshakeSettings& settings = credentials_->settings();
  const bool tls12 = settings.min_version == RecordVersion::kTls12;
  if (SSL_CTX_set_min_proto_version(ctx, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1)
    return credentials_error({}, "OpenSSL lacks a version of TLS: " + OpensslError::drain().text);
  SSL_CTX_set_security_level(ctx, kSecurityLevel);
  SSL_CTX_set_max_cert_list(ctx, static_cast<long>(kMaxCertificateMessage));
  std::uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                          SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION  // OpenSSL 3.2: no decompression for unauthenticated
                                             // peers
  options |= SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION;
#endif
  SSL_CTX_set_options(ctx, options);
  SSL_CTX_clear_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
  // OpenSSL must not build our own chain in each handshake: the chain sent is that of the file.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(ctx, 0);
  SSL_CTX_set_num_tickets(ctx, 0);

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
  if (tls12 && SSL_CTX_set_cipher_list(ctx, tls12_cipher_list(suites).c_str()) != 1)
    return credentials_error(
        {}, "OpenSSL has no suite of TLS 1.2 for these: " + OpensslError::drain().text);

  if (!settings.groups.empty()) {
    if (SSL_CTX_set1_groups_list(ctx, settings.groups.c_str()) != 1) {
      (void)OpensslError::drain();
      return credentials_error({}, "--groups: \"" + settings.groups +
                                       "\" holds a group that this OpenSSL does not know");
    }
  } else if (SSL_CTX_set1_groups_list(ctx, known_groups(ctx).c_str()) != 1) {
    return credentials_error({},
                             "OpenSSL has neither X25519 nor P-256: " + OpensslError::drain().text);
  }
  return {};
}

std::expected<void, CredentialsError> ServerContext::set_pairs() {
  bool has_ec = false;
  for (const Credentials::KeyPair& pair : credentials_->pairs_) {
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
      if (auto done = set_pair(pair, copy); !done) return done;
    }
    if (ec) curves_.add(std::move(copy));
  }
  return {};
}

std::expected<void, CredentialsError> ServerContext::set_pair(
    const Credentials::KeyPair& pair, const CurveCertificates::Certificate& copy) {
  if (SSL_CTX_use_certificate(ctx_.get(), copy.leaf.get()) != 1)
    return credentials_error(pair.cert_file, "cannot be used: " + OpensslError::drain().text);
  if (SSL_CTX_use_PrivateKey(ctx_.get(), copy.key.get()) != 1)
    return credentials_error(pair.key_file, "cannot be used: " + OpensslError::drain().text);
  // It is that of the certificate that was set last.
  if (SSL_CTX_set1_chain(ctx_.get(), copy.chain.get()) != 1)
    return credentials_error(pair.cert_file, "chain cannot be used: " + OpensslError::drain().text);
  return {};
}

std::expected<void, CredentialsError> ServerContext::fill_store(X509_STORE* store) const {
  for (const Credentials::TrustedCertificate& trusted : credentials_->trust_->trusted) {
    give_way();
    const X509Ptr copy(X509_dup(trusted.certificate.get()));
    if (!copy || X509_STORE_add_cert(store, copy.get()) != 1)
      return credentials_error({}, "trust bundle: " + OpensslError::drain().text);
  }
  return {};
}

std::expected<void, CredentialsError> ServerContext::set_trust(const ServerContext* of_same_trust) {
  give_way();
  SSL_CTX* ctx = ctx_.get();
  if (of_same_trust != nullptr) {
    SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(of_same_trust->ctx_.get()));
  } else {
    const X509StorePtr store(X509_STORE_new());
    if (!store) return credentials_error({}, OpensslError::drain().text);
    if (auto done = fill_store(store.get()); !done) return done;
    SSL_CTX_set1_cert_store(ctx, store.get());
  }
  const std::vector<const X509_NAME*> names = credentials_->ca_names().fitting(nullptr);
  same_ca_names_ = !names.empty();
  SSL_CTX_set_client_CA_list(ctx, copy_of(names));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(ctx, kMaxIntermediates);
  return {};
}

std::size_t ServerContext::set_ca_names(SSL* ssl, CaNames::Clients clients) const {
  constexpr std::size_t kDecodedNames = 32;  // a name of 14 bytes takes some 400 of memory
  if (same_ca_names_) return 0;
  const CaNames& all = credentials_->ca_names();
  const std::vector<const X509_NAME*> names = all.fitting(clients);
  if (names.empty()) return 0;
  SSL_set_client_CA_list(ssl, copy_of(names));
  return kDecodedNames * all.size(clients);
}

// Half of each digest: a name of its own for each pair of context and binding.
void ServerContext::bind_sessions(SSL* ssl, const Sha256& binding) const {
  constexpr std::size_t kHalf = sizeof(Sha256) / 2;
  Sha256 bound = session_context_;
  std::copy_n(binding.begin(), kHalf, bound.begin() + kHalf);
  if (SSL_set_session_id_context(ssl, bound.data(), bound.size()) != 1) std::abort();
}

void ServerContext::set_tickets(std::string_view listener_set) {
  SSL_CTX* ctx = ctx_.get();
  // OpenSSL refuses sessions of another context on its own account as well.
  WireWriter id;
  id.raw(std::as_bytes(std::span(credentials_->trust_digest())));
  id.raw(std::as_bytes(std::span(listener_set)));
  session_context_ = sha256(id.bytes());
  if (SSL_CTX_set_session_id_context(ctx, session_context_.data(), session_context_.size()) != 1)
    std::abort();

  if (!credentials_->tickets_) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return;
  }
  ticket_keys_ = credentials_->tickets_->bind(credentials_->trust_digest(), listener_set);
  SSL_CTX_set_num_tickets(ctx, credentials_->settings().tickets);
  // A session has an id for the cache, which is off: the zeros that are there will do. Otherwise
  // OpenSSL draws one at random for each ticket.
  SSL_CTX_set_generate_session_id(ctx, [](SSL*, unsigned char*, unsigned*) { return 1; });
  SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ServerHandshake::on_ticket_key);
  if (SSL_CTX_set_session_ticket_cb(ctx, ServerHandshake::on_make_ticket,
                                    ServerHandshake::on_open_ticket, nullptr) != 1)
    std::abort();
}

}  // namespace sallyport::ktls
