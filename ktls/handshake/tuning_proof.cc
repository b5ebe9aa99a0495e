#include "ktls/handshake/tuning_proof.h"

#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/engine.h"
#include "ktls/keys/suite.h"
#include "ktls/records/record.h"
#include "ktls/records/record_protection.h"

namespace sallyport::ktls {
namespace {

constexpr std::string_view kUp = "from the client";
constexpr std::string_view kDown = "from the server";

struct Certificate {
  EvpPkeyPtr key;
  X509Ptr x509;
};

Certificate throwaway_certificate() {
  Certificate made{.key = EvpPkeyPtr(EVP_EC_gen("P-256")), .x509 = X509Ptr(X509_new())};
  if (!made.key || !made.x509) return {};
  X509* x509 = made.x509.get();
  constexpr long kHour = 3600;
  const bool good = X509_set_version(x509, X509_VERSION_3) == 1 &&
                    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1) == 1 &&
                    X509_gmtime_adj(X509_getm_notBefore(x509), -kHour) != nullptr &&
                    X509_gmtime_adj(X509_getm_notAfter(x509), kHour) != nullptr &&
                    X509_set_pubkey(x509, made.key.get()) == 1 &&
                    X509_sign(x509, made.key.get(), EVP_sha256()) > 0;
  return good ? std::move(made) : Certificate{};
}

// Accepts any certificate: the trial is of the keys.
int accept(X509_STORE_CTX*, void*) {
  return 1;
}

bool prepare(SSL_CTX* context, const Certificate& certificate, CipherSuite suite) {
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, accept, nullptr);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_num_tickets(context, 0) == 1 &&
         SSL_CTX_set_ciphersuites(context, std::string(name(suite)).c_str()) == 1 &&
         SSL_CTX_use_certificate(context, certificate.x509.get()) == 1 &&
         SSL_CTX_use_PrivateKey(context, certificate.key.get()) == 1;
}

/// OpenSSL's own client, over memory.
class Client {
 public:
  explicit Client(SSL_CTX* context) : ssl_(SSL_new(context)) {
    BioPtr in(BIO_new(BIO_s_mem()));
    BioPtr out(BIO_new(BIO_s_mem()));
    if (!ssl_ || !in || !out) return;
    in_ = in.release();
    out_ = out.release();
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
  }

  bool step() { return out_ != nullptr && SSL_do_handshake(ssl_.get()) == 1; }
  bool give(std::span<const std::byte> bytes) {
    const int size = static_cast<int>(bytes.size());
    return size == 0 || BIO_write(in_, bytes.data(), size) == size;
  }
  std::vector<std::byte> take() {
    std::vector<std::byte> bytes(BIO_ctrl_pending(out_));
    if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  bool write(std::string_view text) {
    return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) ==
           static_cast<int>(text.size());
  }
  bool reads(std::string_view text) {
    std::array<char, 64> room;
    const int size = SSL_read(ssl_.get(), room.data(), static_cast<int>(room.size()));
    return size > 0 && std::string_view(room.data(), static_cast<std::size_t>(size)) == text;
  }

 private:
  SslPtr ssl_;
  BIO* in_ = nullptr;  ///< owned by ssl_, as is
  BIO* out_ = nullptr;
};

bool run_handshake(HandshakeEngine& server, Client& client) {
  using Step = HandshakeEngine::Step;
  for (int flight = 0; flight < 4; ++flight) {
    const bool client_done = client.step();
    server.feed(client.take());
    const Step step = server.advance();
    if (step == Step::kFailed || !client.give(server.output())) return false;
    server.output_sent();
    if (step == Step::kDone && client_done) return true;
  }
  return false;
}

bool opens(CipherSuite suite, const DirectionState& rx, std::vector<std::byte> record) {
  CipherContexts contexts(1);
  RecordOpener opener(contexts, suite, rx);
  const auto opened = opener.open(record);
  return opened && opened->type == ContentType::kApplicationData &&
         std::ranges::equal(opened->content, std::as_bytes(std::span(kUp)));
}

std::vector<std::byte> sealed(CipherSuite suite, const DirectionState& tx) {
  CipherContexts contexts(1);
  RecordSealer sealer(contexts, suite, tx);
  const iovec span{const_cast<char*>(kDown.data()), kDown.size()};
  PlaintextCursor content{std::span(&span, 1)};
  std::vector<std::byte> record(kDown.size() + record_overhead(RecordVersion::kTls13, suite));
  const auto size = sealer.seal(ContentType::kApplicationData, content, record);
  return size ? record : std::vector<std::byte>();
}

std::optional<std::string> disprove(OSSL_LIB_CTX* library, const Certificate& certificate,
                                    CipherSuite suite,
                                    const std::function<void(ApplicationSecrets&)>& alter) {
  const SslCtxPtr server_context(SSL_CTX_new_ex(library, nullptr, TLS_server_method()));
  const SslCtxPtr client_context(SSL_CTX_new(TLS_client_method()));
  if (!server_context || !client_context || !prepare(server_context.get(), certificate, suite) ||
      !prepare(client_context.get(), certificate, suite))
    return "no context for " + std::string(name(suite));
  HandshakeEngine::install(server_context.get(), false);
  HandshakeEngine server(server_context.get(), nullptr);
  server.set_server();
  Client client(client_context.get());
  if (!run_handshake(server, client))
    return "no handshake with " + std::string(name(suite)) + ": " + server.failure().detail;
  if (alter) alter(server.secrets());
  if (!server.collect_secrets(RecordVersion::kTls13, suite))
    return "no application secrets of " + std::string(name(suite));
  if (!client.write(kUp) || !opens(suite, server.secrets().client, client.take()))
    return "a record of the client does not open: " + std::string(name(suite));
  if (!client.give(sealed(suite, server.secrets().server)) || !client.reads(kDown))
    return "the client does not open a record: " + std::string(name(suite));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> disprove_tuning(OSSL_LIB_CTX* library,
                                           const std::function<void(ApplicationSecrets&)>& alter) {
  const Certificate certificate = throwaway_certificate();
  if (!certificate.x509) return "no certificate: " + OpensslError::drain().text;
  for (const CipherSuite suite : kCipherSuites)
    if (auto wrong = disprove(library, certificate, suite, alter)) return wrong;
  return std::nullopt;
}

}  // namespace sallyport::ktls
