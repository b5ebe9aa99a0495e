#include "ktls/handshake/client_context.h"

#include <openssl/ssl.h>

#include <span>
#include <utility>

#include "ktls/handshake/client_handshake.h"

namespace sallyport::ktls {

std::expected<std::shared_ptr<ClientContext>, CredentialsError> ClientContext::create(
    std::shared_ptr<const Credentials> credentials, Presents presents, WallClock clock) {
  auto made = make_context(library_for(std::span(&credentials, 1)), Role::kClient,
                           credentials->settings(), RecordVersion::kTls12);
  if (!made) return std::unexpected(std::move(made.error()));
  std::shared_ptr<ClientContext> context(new ClientContext);
  context->credentials_ = std::move(credentials);
  context->clock_ = clock;
  context->ctx_ = std::move(*made);
  SSL_CTX* const ctx = context->ctx_.get();
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  ClientHandshake::install_callbacks(ctx);
  auto done = set_trust(ctx, *context->credentials_);
  if (done && presents == Presents::kCertificates)
    done = set_certificates(ctx, *context->credentials_, context->curves_);
  if (!done) return std::unexpected(std::move(done.error()));
  return context;
}

}  // namespace sallyport::ktls
