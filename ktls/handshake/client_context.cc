#include "ktls/handshake/client_context.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "ktls/handshake/client_handshake.h"
#include "ktls/trust/x509_facts.h"

namespace sallyport::ktls {
namespace {

Sha256 digest_of(const std::vector<Credentials::KeyPair>& pairs) {
  std::vector<std::byte> all;
  const auto add = [&all](const X509Ptr& certificate) {
    const std::vector<std::byte> der = to_der(certificate.get());  // which has its own length
    all.insert(all.end(), der.begin(), der.end());
  };
  for (const Credentials::KeyPair& pair : pairs) {
    add(pair.leaf);
    std::ranges::for_each(pair.chain, add);
  }
  return sha256(all);
}

}  // namespace

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
  if (done && presents == Presents::kCertificates) {
    context->presented_ = digest_of(context->credentials_->pairs());
    done = set_certificates(ctx, *context->credentials_, context->curves_);
  }
  if (!done) return std::unexpected(std::move(done.error()));
  return context;
}

}  // namespace sallyport::ktls
