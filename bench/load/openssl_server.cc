#include "bench/load/openssl_server.h"

#include <openssl/ssl.h>

#include "bench/load/openssl_stream.h"

namespace sallyport::bench {

OpensslServer::OpensslServer(const std::string& certificate, const std::string& key,
                             Sessions sessions)
    : context_(SSL_CTX_new(TLS_server_method())) {
  SSL_CTX* const context = context_.get();
  require_openssl(context != nullptr, "SSL_CTX_new");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  require_openssl(SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384") == 1, "suite");
  require_openssl(SSL_CTX_set1_groups_list(context, "X25519") == 1, "group");
  require_openssl(SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) == 1,
                  certificate);
  require_openssl(SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1, key);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
  set_for_streams(context);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // With a client certificate OpenSSL resumes only what has the same context of sessions.
  constexpr unsigned char kSessionContext[] = {'b'};
  require_openssl(
      SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext) == 1,
      "context of sessions");
  if (sessions == Sessions::kNone)
    require_openssl(SSL_CTX_set_num_tickets(context, 0) == 1, "no tickets");
}

std::unique_ptr<Stream> OpensslServer::stream(int descriptor) {
  SSL* const ssl = SSL_new(context_.get());
  require_openssl(ssl != nullptr && SSL_set_fd(ssl, descriptor) == 1, "SSL_new");
  SSL_set_accept_state(ssl);
  return openssl_stream(ssl, buffer_);
}

}  // namespace sallyport::bench
