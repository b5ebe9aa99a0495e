#include "tests/ktls/handshake/memory_peer.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <stdexcept>

namespace sallyport::ktls::testing {
namespace {

void must(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + ": " + OpensslError::drain().text);
}

std::vector<X509Ptr> certificates_of(const std::string& pem) {
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<X509Ptr> result;
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr))
    result.emplace_back(next);
  (void)OpensslError::drain();
  return result;
}

// What the setups of both sides have.
void set_common(SSL_CTX* ctx, const auto& setup) {
  SSL_CTX_set_min_proto_version(ctx, setup.min_version);
  SSL_CTX_set_max_proto_version(ctx, setup.max_version);
  if (!setup.ciphersuites.empty())
    must(SSL_CTX_set_ciphersuites(ctx, setup.ciphersuites.c_str()) == 1, "ciphersuites");
  if (!setup.cipher_list.empty())
    must(SSL_CTX_set_cipher_list(ctx, setup.cipher_list.c_str()) == 1, "cipher list");
  if (!setup.groups.empty())
    must(SSL_CTX_set1_groups_list(ctx, setup.groups.c_str()) == 1, "groups");
}

}  // namespace

MemoryPeer::MemoryPeer(const SSL_METHOD* method) : ctx_(SSL_CTX_new(method)) {
  must(ctx_ != nullptr, "SSL_CTX_new");
}

MemoryPeer::~MemoryPeer() {
  if (ssl_) SSL_set_shutdown(ssl(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void MemoryPeer::present(const test::TestCertificate& certificate) {
  const auto chain = certificates_of(certificate.chain_pem);
  must(SSL_CTX_use_certificate(context(), chain.front().get()) == 1, "certificate");
  must(SSL_CTX_use_PrivateKey(context(), certificate.key.get()) == 1, "key");
  for (std::size_t i = 1; i < chain.size(); ++i)
    must(SSL_CTX_add1_chain_cert(context(), chain[i].get()) == 1, "chain");
}

void MemoryPeer::trust(const std::string& anchors_pem) {
  for (const X509Ptr& anchor : certificates_of(anchors_pem))
    must(X509_STORE_add_cert(SSL_CTX_get_cert_store(context()), anchor.get()) == 1, "trust");
}

void MemoryPeer::start() {
  ssl_.reset(SSL_new(context()));
  must(ssl_ != nullptr, "SSL_new");
  SSL_set_app_data(ssl(), this);
  SSL_set_info_callback(ssl(), on_info);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl(), in, out);
}

void MemoryPeer::on_info(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
    static_cast<MemoryPeer*>(SSL_get_app_data(ssl))->alert_ = value & 0xff;
}

bool MemoryPeer::handshake() {
  const int done = SSL_do_handshake(ssl());
  if (done == 1) return true;
  failed_ = SSL_get_error(ssl(), done) != SSL_ERROR_WANT_READ;
  (void)OpensslError::drain();
  return false;
}

void MemoryPeer::give(std::span<const std::byte> ciphertext) {
  BIO_write(SSL_get_rbio(ssl()), ciphertext.data(), static_cast<int>(ciphertext.size()));
}

std::string MemoryPeer::take() {
  std::string result(BIO_ctrl_pending(SSL_get_wbio(ssl())), '\0');
  if (!result.empty())
    BIO_read(SSL_get_wbio(ssl()), result.data(), static_cast<int>(result.size()));
  return result;
}

bool MemoryPeer::write(std::string_view plaintext) {
  return SSL_write(ssl(), plaintext.data(), static_cast<int>(plaintext.size())) ==
         static_cast<int>(plaintext.size());
}

std::string MemoryPeer::read() {
  std::string result;
  char buffer[16384];
  for (;;) {
    const int got = SSL_read(ssl(), buffer, sizeof buffer);
    if (got <= 0) break;
    result.append(buffer, static_cast<std::size_t>(got));
  }
  (void)OpensslError::drain();
  return result;
}

// ---- the client

MemoryClient::MemoryClient(const ClientSetup& setup) : MemoryPeer(TLS_client_method()) {
  SSL_CTX* ctx = context();
  set_common(ctx, setup);
  if (setup.certificate != nullptr) present(*setup.certificate);
  if (!setup.trust_pem.empty()) {
    trust(setup.trust_pem);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  }
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, on_session);

  start();
  SSL_set_connect_state(ssl());
  if (!setup.sni.empty()) must(SSL_set_tlsext_host_name(ssl(), setup.sni.c_str()) == 1, "SNI");
  if (!setup.alpn.empty()) {
    std::string wire;
    for (const std::string& protocol : setup.alpn)
      wire += static_cast<char>(protocol.size()) + protocol;
    must(SSL_set_alpn_protos(ssl(), reinterpret_cast<const unsigned char*>(wire.data()),
                             static_cast<unsigned>(wire.size())) == 0,
         "ALPN");
  }
  if (setup.session != nullptr) must(SSL_set_session(ssl(), setup.session) == 1, "session");
  if (setup.max_fragment_code != 0) {
    must(SSL_set_tlsext_max_fragment_length(ssl(), setup.max_fragment_code) == 1,
         "fragment length");
  }
}

int MemoryClient::on_session(SSL* ssl, SSL_SESSION* session) {
  auto* const peer = static_cast<MemoryPeer*>(SSL_get_app_data(ssl));
  static_cast<MemoryClient*>(peer)->sessions_.emplace_back(session);
  return 1;  // kept
}

// ---- the server

MemoryServer::MemoryServer(const ServerSetup& setup)
    : MemoryPeer(TLS_server_method()), alpn_(setup.alpn) {
  SSL_CTX* ctx = context();
  set_common(ctx, setup);
  present(*setup.certificate);
  for (const test::TestCertificate* each : setup.more_of_chain)
    must(SSL_CTX_add1_chain_cert(ctx, each->x509.get()) == 1, "chain");
  // OpenSSL would complete the chain from there.
  SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
  if (!setup.trust_pem.empty()) {
    trust(setup.trust_pem);
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (setup.requires_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nullptr);
  }
  if (!setup.client_signatures.empty())
    must(SSL_CTX_set1_client_sigalgs_list(ctx, setup.client_signatures.c_str()) == 1,
         "client signatures");
  SSL_CTX_set_options(ctx, setup.options);
  SSL_CTX_set_num_tickets(ctx, setup.tickets);
  if (setup.ticket_secret != 0) {
    std::vector<unsigned char> keys(
        static_cast<std::size_t>(SSL_CTX_get_tlsext_ticket_keys(ctx, nullptr, 0)),
        setup.ticket_secret);
    must(SSL_CTX_set_tlsext_ticket_keys(ctx, keys.data(), static_cast<long>(keys.size())) == 1,
         "ticket keys");
    must(SSL_CTX_set_session_id_context(ctx, &setup.ticket_secret, 1) == 1, "session id context");
  }
  if (!alpn_.empty()) SSL_CTX_set_alpn_select_cb(ctx, on_alpn, this);
  start();
  SSL_set_accept_state(ssl());
}

std::string MemoryServer::sni() {
  const char* name = SSL_get_servername(ssl(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? "" : name;
}

std::string MemoryServer::client_der() {
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl()));
  if (!certificate) return {};
  const auto der = test::to_der(certificate.get());
  return {der.begin(), der.end()};
}

int MemoryServer::on_alpn(SSL*, const unsigned char** out, unsigned char* out_size,
                          const unsigned char*, unsigned, void* server) {
  const std::string& chosen = static_cast<MemoryServer*>(server)->alpn_;
  *out = reinterpret_cast<const unsigned char*>(chosen.data());
  *out_size = static_cast<unsigned char>(chosen.size());
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace sallyport::ktls::testing
