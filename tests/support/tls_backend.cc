#include "tests/support/tls_backend.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <utility>

namespace sallyport::test {
namespace {

void must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("TLS backend: ") + what);
}

int choose_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned in_size, void* wanted) {
  const auto& options = *static_cast<const TlsBackendOptions*>(wanted);
  const std::string& protocol = options.alpn;
  for (unsigned at = 0; at < in_size; at += 1U + in[at]) {
    if (std::string(reinterpret_cast<const char*>(in) + at + 1, in[at]) != protocol) continue;
    *out = in + at + 1;
    *out_size = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return options.needs_alpn ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

struct Listening {
  TlsBackendOptions options;
  std::shared_ptr<SSL_CTX> context;
};

std::shared_ptr<const Listening> listening(TlsBackendOptions options) {
  ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets whose peer has left
  auto made = std::make_shared<Listening>();
  made->options = std::move(options);
  const TlsBackendOptions& kept = made->options;
  made->context.reset(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX* const context = made->context.get();
  must(context != nullptr, "no context");
  must(SSL_CTX_use_certificate(context, kept.certificate.x509.get()) == 1, "certificate");
  must(SSL_CTX_use_PrivateKey(context, kept.certificate.key.get()) == 1, "key");
  must(SSL_CTX_set_num_tickets(context, kept.tickets) == 1, "tickets");
  constexpr unsigned char kAnyId = 1;  // without one no session is resumed where clients are asked
  must(SSL_CTX_set_session_id_context(context, &kAnyId, 1) == 1, "session id context");
  if (kept.max_version != 0) SSL_CTX_set_max_proto_version(context, kept.max_version);
  if (!kept.ciphersuites.empty())
    must(SSL_CTX_set_ciphersuites(context, kept.ciphersuites.c_str()) == 1, "ciphersuites");
  if (!kept.cipher_list.empty())
    must(SSL_CTX_set_cipher_list(context, kept.cipher_list.c_str()) == 1, "cipher list");
  if (!kept.alpn.empty())
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, const_cast<TlsBackendOptions*>(&kept));
  if (!kept.client_ca.empty()) {
    const std::shared_ptr<BIO> pem(
        BIO_new_mem_buf(kept.client_ca.data(), static_cast<int>(kept.client_ca.size())), BIO_free);
    const std::shared_ptr<X509> anchor(PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr),
                                       X509_free);
    must(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), anchor.get()) == 1, "anchor");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  if (kept.configure) kept.configure(context);
  return made;
}

// OpenSSL writes to a socket as to any file. Of this thread alone: programs that a test starts
// would ignore it, too.
void block_sigpipe() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  must(pthread_sigmask(SIG_BLOCK, &pipe, nullptr) == 0, "signal mask");
}

}  // namespace

Backend::Serve over_tls(TlsBackendOptions options, TlsServe serve) {
  return [made = listening(std::move(options)), serve = std::move(serve)](Fd& socket) {
    block_sigpipe();
    // What follows a ticket does not wait until that is acknowledged. A unix socket waits for none.
    const int no_delay = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    const std::shared_ptr<SSL> ssl(SSL_new(made->context.get()), SSL_free);
    must(ssl && SSL_set_fd(ssl.get(), socket.get()) == 1, "no connection");
    ERR_clear_error();
    if (SSL_accept(ssl.get()) == 1) serve(ssl.get());
    ::shutdown(socket.get(), SHUT_WR);
  };
}

void echo_over_tls(SSL* ssl) {
  std::array<char, 65536> buffer{};
  int size = 0;
  while ((size = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()))) > 0)
    if (SSL_write(ssl, buffer.data(), size) != size) return;
  if (SSL_get_error(ssl, size) == SSL_ERROR_ZERO_RETURN) SSL_shutdown(ssl);
}

void listen_over_tls(SSL* ssl, Transcript& transcript) {
  std::array<char, 65536> buffer{};
  int size = 0;
  while ((size = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()))) > 0)
    transcript.add({buffer.data(), static_cast<std::size_t>(size)});
  const bool closed = SSL_get_error(ssl, size) == SSL_ERROR_ZERO_RETURN;
  transcript.finish(closed ? StreamEnd::kFin : StreamEnd::kReset);
}

}  // namespace sallyport::test
