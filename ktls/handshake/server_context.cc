#include "ktls/handshake/server_context.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#include "ktls/base/wire.h"
#include "ktls/handshake/server_handshake.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

void free_names(STACK_OF(X509_NAME) * names) noexcept {
  sk_X509_NAME_pop_free(names, X509_NAME_free);
}

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

}  // namespace

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
  return trial.judge_clients(nullptr);
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
  if (done) done = context->judge_clients(shared.of_same_trust);
  if (!done) return std::unexpected(std::move(done.error()));
  context->set_tickets(listener_set);
  return context;
}

std::expected<void, CredentialsError> ServerContext::set_up() {
  const HandshakeSettings& settings = credentials_->settings();
  auto made = make_context(library_, Role::kServer, settings, settings.min_version);
  if (!made) return std::unexpected(std::move(made.error()));
  ctx_ = std::move(*made);
  SSL_CTX* const ctx = ctx_.get();
  ServerHandshake::install_callbacks(ctx);
  SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_max_early_data(ctx, 0);
  SSL_CTX_set_num_tickets(ctx, 0);
  return set_certificates(ctx, *credentials_, curves_);
}

std::expected<void, CredentialsError> ServerContext::judge_clients(
    const ServerContext* of_same_trust) {
  SSL_CTX* const ctx = ctx_.get();
  const SSL_CTX* const other = of_same_trust == nullptr ? nullptr : of_same_trust->ctx_.get();
  if (auto done = set_trust(ctx, *credentials_, other); !done) return done;
  const std::vector<const X509_NAME*> names = credentials_->ca_names().fitting(nullptr);
  same_ca_names_ = !names.empty();
  SSL_CTX_set_client_CA_list(ctx, copy_of(names));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
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

  if (credentials_->tickets() == nullptr) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return;
  }
  ticket_keys_ = credentials_->tickets()->bind(credentials_->trust_digest(), listener_set);
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
