#include "tests/ktls/handshake/loopback.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "ktls/records/record_protection.h"

namespace sallyport::ktls::testing {
namespace {

std::chrono::seconds clock_offset{0};

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

}  // namespace

std::chrono::sys_seconds test_clock() {
  return wall_clock_now() + clock_offset;
}

void set_clock_offset(std::chrono::seconds offset) {
  clock_offset = offset;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string open_all(std::span<const std::byte> ciphertext, const SessionState& state) {
  CipherContexts contexts;
  RecordOpener opener(contexts, state.suite, state.rx, state.version);
  std::vector<std::byte> bytes(ciphertext.begin(), ciphertext.end());
  std::string plaintext;
  for (std::span<std::byte> rest = bytes; !rest.empty();) {
    const auto header = RecordHeader::parse(rest.first<kRecordHeaderSize>());
    const auto record = opener.open(rest.first(kRecordHeaderSize + header.length));
    if (!record) return "cannot be opened";
    plaintext.append(reinterpret_cast<const char*>(record->content.data()), record->content.size());
    rest = rest.subspan(kRecordHeaderSize + header.length);
  }
  return plaintext;
}

std::vector<std::byte> seal(std::string_view text, const SessionState& state) {
  CipherContexts contexts;
  RecordSealer sealer(contexts, state.suite, state.tx, state.version);
  const iovec span{const_cast<char*>(text.data()), text.size()};
  PlaintextCursor cursor({&span, 1});
  std::vector<std::byte> out(sealed_size(text.size(), record_overhead(state.version, state.suite)));
  const auto size = sealer.seal(ContentType::kApplicationData, cursor, out);
  EXPECT_TRUE(size && *size == out.size());
  return out;
}

MemoryClient::MemoryClient(const ClientSetup& setup) : ctx_(SSL_CTX_new(TLS_client_method())) {
  must(ctx_ != nullptr, "SSL_CTX_new");
  SSL_CTX* ctx = ctx_.get();
  SSL_CTX_set_min_proto_version(ctx, setup.min_version);
  SSL_CTX_set_max_proto_version(ctx, setup.max_version);
  if (!setup.ciphersuites.empty())
    must(SSL_CTX_set_ciphersuites(ctx, setup.ciphersuites.c_str()) == 1, "ciphersuites");
  if (!setup.cipher_list.empty())
    must(SSL_CTX_set_cipher_list(ctx, setup.cipher_list.c_str()) == 1, "cipher list");
  if (!setup.groups.empty())
    must(SSL_CTX_set1_groups_list(ctx, setup.groups.c_str()) == 1, "groups");
  if (setup.certificate != nullptr) {
    const auto chain = certificates_of(setup.certificate->chain_pem);
    must(SSL_CTX_use_certificate(ctx, chain.front().get()) == 1, "client certificate");
    must(SSL_CTX_use_PrivateKey(ctx, setup.certificate->key.get()) == 1, "client key");
    for (std::size_t i = 1; i < chain.size(); ++i)
      must(SSL_CTX_add1_chain_cert(ctx, chain[i].get()) == 1, "client chain");
  }
  if (!setup.trust_pem.empty()) {
    for (const X509Ptr& anchor : certificates_of(setup.trust_pem))
      must(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), anchor.get()) == 1, "trust");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  }
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, on_session);

  ssl_.reset(SSL_new(ctx));
  must(ssl_ != nullptr, "SSL_new");
  SSL* ssl = ssl_.get();
  SSL_set_app_data(ssl, this);
  SSL_set_info_callback(ssl, on_info);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  if (!setup.sni.empty()) must(SSL_set_tlsext_host_name(ssl, setup.sni.c_str()) == 1, "SNI");
  if (!setup.alpn.empty()) {
    std::string wire;
    for (const std::string& protocol : setup.alpn)
      wire += static_cast<char>(protocol.size()) + protocol;
    must(SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()),
                             static_cast<unsigned>(wire.size())) == 0,
         "ALPN");
  }
  if (setup.session != nullptr) must(SSL_set_session(ssl, setup.session) == 1, "session");
  if (setup.max_fragment_code != 0) {
    must(SSL_set_tlsext_max_fragment_length(ssl, setup.max_fragment_code) == 1, "fragment length");
  }
}

int MemoryClient::on_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<MemoryClient*>(SSL_get_app_data(ssl))->sessions_.emplace_back(session);
  return 1;  // kept
}

void MemoryClient::on_info(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
    static_cast<MemoryClient*>(SSL_get_app_data(ssl))->alert_ = value & 0xff;
}

bool MemoryClient::handshake() {
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) return true;
  failed_ = SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ;
  (void)OpensslError::drain();
  return false;
}

void MemoryClient::give(std::span<const std::byte> ciphertext) {
  BIO_write(SSL_get_rbio(ssl_.get()), ciphertext.data(), static_cast<int>(ciphertext.size()));
}

std::string MemoryClient::take() {
  std::string result(BIO_ctrl_pending(SSL_get_wbio(ssl_.get())), '\0');
  if (!result.empty())
    BIO_read(SSL_get_wbio(ssl_.get()), result.data(), static_cast<int>(result.size()));
  return result;
}

bool MemoryClient::write(std::string_view plaintext) {
  return SSL_write(ssl_.get(), plaintext.data(), static_cast<int>(plaintext.size())) ==
         static_cast<int>(plaintext.size());
}

std::string MemoryClient::read() {
  std::string result;
  char buffer[16384];
  for (;;) {
    const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    result.append(buffer, static_cast<std::size_t>(got));
  }
  (void)OpensslError::drain();
  return result;
}

TestServer::TestServer() {
  settings.tuned_openssl = std::getenv("SALLYPORT_TEST_STOCK") == nullptr;
  set_clock_offset(std::chrono::seconds(0));
  files.ca.push_back({std::nullopt, dir.write("ca.pem", authority.cert_pem())});
  serve_with(test::KeyType::kEcdsaP256);
}

void TestServer::serve_with(test::KeyType type) {
  own = authority.issue({.cn = "gateway", .dns = {"gateway.test"}, .key_type = type});
  files.pairs = {{dir.write("own.pem", own.chain_pem), dir.write_secret("own.key", own.key_pem)}};
}

std::expected<std::shared_ptr<const Credentials>, CredentialsError> TestServer::load() const {
  return load_usable_credentials(files, settings);
}

std::shared_ptr<ServerContext> TestServer::context(std::string_view listener_set) const {
  auto credentials = load();
  if (!credentials) {
    ADD_FAILURE() << credentials.error().message();
    return nullptr;
  }
  auto made = ServerContext::create(*credentials, listener_set, test_clock);
  if (!made) {
    ADD_FAILURE() << made.error().message();
    return nullptr;
  }
  return *made;
}

test::TestCertificate TestServer::client(test::KeyType type) const {
  return authority.issue(
      {.cn = "client", .spiffe = {"spiffe://example.org/ns/shop/sa/web"}, .key_type = type});
}

RouteByHello any_route() {
  return [](const ClientHello&) { return std::string(); };
}

RoutedHandshake::Step RoutedHandshake::advance() {
  const Step step = ServerHandshake::advance();
  if (step != Step::kHello) return step;
  const auto alpn = route_(hello());
  if (alpn) {
    accept({.alpn = *alpn,
            .clients = clients,
            .context = context,
            .ticket_binding = ticket_binding,
            .certificate = certificate});
  } else {
    reject({.result = alpn.error(), .detail = "by the test"});
  }
  return ServerHandshake::advance();
}

void deliver(RoutedHandshake& server, MemoryClient& client) {
  client.give(server.output());
  server.output_sent();
}

ServerHandshake::Step shuttle(RoutedHandshake& server, MemoryClient& client, std::size_t piece) {
  auto step = ServerHandshake::Step::kWantRead;
  for (bool moved = true; moved;) {
    (void)client.handshake();
    const std::string sent = client.take();
    for (std::size_t at = 0; at < sent.size(); at += piece) {
      server.feed(bytes_of(sent).subspan(at, std::min(piece, sent.size() - at)));
      step = server.advance();
      if (piece >= sent.size()) break;
    }
    moved = !sent.empty() || !server.output().empty();
    deliver(server, client);
  }
  (void)client.read();  // in TLS 1.3 the client learns of a refusal only by reading
  return step;
}

}  // namespace sallyport::ktls::testing
