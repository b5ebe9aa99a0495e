#include "tests/support/tls_client.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "tests/support/wait.h"

namespace sallyport::test {

const char* to_string(TlsEnd end) {
  switch (end) {
    case TlsEnd::kOpen:
      return "open";
    case TlsEnd::kCloseNotify:
      return "close_notify";
    case TlsEnd::kAlert:
      return "alert";
    case TlsEnd::kTruncated:
      return "truncated";
    case TlsEnd::kReset:
      return "reset";
    case TlsEnd::kFailed:
      return "failed";
  }
  return "?";
}

struct TlsClient::State {
  explicit State(Fd connected, ClientOptions given)
      : socket(std::move(connected)), options(std::move(given)), random(options.seed) {}
  ~State() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }

  Fd socket;
  ClientOptions options;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  BIO* in = nullptr;   // owned by ssl
  BIO* out = nullptr;  // owned by ssl
  std::mt19937_64 random;
  std::string ciphertext;  // made and not yet sent
  std::string plaintext;   // received and not yet taken
  std::size_t flight = 0;
  std::size_t tickets = 0;
  bool done = false;
  TlsEnd end = TlsEnd::kOpen;
  bool fin = false;
  std::optional<int> alert;
  std::string error;
  std::shared_ptr<SSL_SESSION> latest_session;

  void make() {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context,
                                  options.min_version != 0 ? options.min_version : TLS1_3_VERSION);
    if (options.max_version != 0) SSL_CTX_set_max_proto_version(context, options.max_version);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, [](SSL* of, SSL_SESSION* session) {
      auto* state = static_cast<State*>(SSL_get_app_data(of));
      state->latest_session = std::shared_ptr<SSL_SESSION>(session, SSL_SESSION_free);
      ++state->tickets;
      return 1;
    });
    if (options.key_log != nullptr) {
      SSL_CTX_set_keylog_callback(context, [](const SSL* of, const char* line) {
        *static_cast<State*>(SSL_get_app_data(of))->options.key_log += std::string(line) + "\n";
      });
    }
    if (options.certificate) use_certificate(*options.certificate);
    if (options.trust_pem) {
      trust(*options.trust_pem);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    }
    ssl = SSL_new(context);
    SSL_set_app_data(ssl, this);
    SSL_set_info_callback(ssl, [](const SSL* of, int where, int value) {
      if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT) return;
      static_cast<State*>(SSL_get_app_data(of))->alert = value & 0xff;
    });
    SSL_set_options(ssl, options.ssl_options);
    set(options.ciphersuites, SSL_set_ciphersuites);
    set(options.cipher_list, SSL_set_cipher_list);
    if (!options.groups.empty()) must(SSL_set1_groups_list(ssl, options.groups.c_str()));
    if (!options.signature_algorithms.empty()) {
      must(SSL_set1_sigalgs_list(ssl, options.signature_algorithms.c_str()));
    }
    if (!options.sni.empty()) must(SSL_set_tlsext_host_name(ssl, options.sni.c_str()));
    if (!options.alpn.empty()) {
      std::string wire;
      for (const std::string& name : options.alpn) wire += static_cast<char>(name.size()) + name;
      SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()),
                          static_cast<unsigned>(wire.size()));
    }
    if (options.session) offer(options.session.get());
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  }

  static void must(long ok) {
    if (ok != 1) throw TestFailure("TlsClient: OpenSSL refused an option");
  }
  void set(const std::string& value, int (*setter)(SSL*, const char*)) const {
    if (!value.empty()) must(setter(ssl, value.c_str()));
  }
  // A copy: OpenSSL marks a session of TLS 1.3 as used once it was resumed, and offers it to nobody
  // again, as a client need not do.
  void offer(SSL_SESSION* session) const {
    const std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> copy(SSL_SESSION_dup(session),
                                                                         SSL_SESSION_free);
    must(SSL_set_session(ssl, copy.get()));
  }

  void use_certificate(const TestCertificate& certificate) const {
    must(SSL_CTX_use_certificate(context, certificate.x509.get()));
    must(SSL_CTX_use_PrivateKey(context, certificate.key.get()));
    BIO* chain = BIO_new_mem_buf(certificate.chain_pem.data(),
                                 static_cast<int>(certificate.chain_pem.size()));
    X509_free(PEM_read_bio_X509(chain, nullptr, nullptr, nullptr));  // the leaf itself
    while (X509* above = PEM_read_bio_X509(chain, nullptr, nullptr, nullptr)) {
      SSL_CTX_add0_chain_cert(context, above);
    }
    ERR_clear_error();
    BIO_free(chain);
  }

  void trust(const std::string& pem) const {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    while (X509* anchor = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context), anchor);
      X509_free(anchor);
    }
    ERR_clear_error();
    BIO_free(bio);
  }

  void take_output() {
    char buffer[16384];
    std::string piece;
    for (int size = 0; (size = BIO_read(out, buffer, sizeof buffer)) > 0;) {
      piece.append(buffer, static_cast<std::size_t>(size));
    }
    if (piece.empty()) return;
    if (options.tamper != nullptr) options.tamper(piece, flight);
    ++flight;
    ciphertext += piece;
  }

  // Sends what fits now; false when the connection broke.
  bool push() {
    take_output();
    while (!ciphertext.empty()) {
      std::size_t size = ciphertext.size();
      if (options.segment_below > 0) {
        size = std::min(size, std::size_t{1} + random() % options.segment_below);
      }
      const ssize_t sent =
          ::send(socket.get(), ciphertext.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) return true;
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) {
        ciphertext.clear();
        return false;
      }
      ciphertext.erase(0, static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Takes what the socket has now into OpenSSL; notes FIN and reset.
  void pull() {
    char buffer[65536];
    while (!fin && end != TlsEnd::kReset) {
      const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (size > 0) {
        BIO_write(in, buffer, static_cast<int>(size));
        return;  // a chunk at a time, so that memory stays small
      }
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return;
      if (size == 0) {
        fin = true;
      } else if (end == TlsEnd::kOpen) {
        end = TlsEnd::kReset;
      }
    }
  }

  // Moves what OpenSSL has decrypted; decides how the stream ended.
  void decrypt() {
    char buffer[16384];
    for (;;) {
      ERR_clear_error();
      const int size = SSL_read(ssl, buffer, sizeof buffer);
      if (size > 0) {
        plaintext.append(buffer, static_cast<std::size_t>(size));
        continue;
      }
      const int why = SSL_get_error(ssl, size);
      if (why == SSL_ERROR_ZERO_RETURN) {
        end = TlsEnd::kCloseNotify;
      } else if (why == SSL_ERROR_SSL && end == TlsEnd::kOpen) {
        note_failure();
      } else if (why == SSL_ERROR_WANT_READ && fin && end == TlsEnd::kOpen) {
        end = TlsEnd::kTruncated;
      }
      return;
    }
  }

  void note_failure() {
    char text[256];
    ERR_error_string_n(ERR_peek_error(), text, sizeof text);
    error = text;
    ERR_clear_error();
    end = alert && *alert != 0 ? TlsEnd::kAlert : TlsEnd::kFailed;
  }

  void wait(bool for_output) const {
    if (!wait_ready(socket.get(), static_cast<short>(POLLIN | (for_output ? POLLOUT : 0)))) {
      throw TestFailure("TlsClient: the gateway neither sends nor reads");
    }
  }

  void handshake() {
    while (!done && end == TlsEnd::kOpen) {
      ERR_clear_error();
      const int result = SSL_do_handshake(ssl);
      // OpenSSL's own fatal alert, if it made one, must go out too.
      const int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, result);
      if (why == SSL_ERROR_SSL) note_failure();
      const bool sending = push();
      if (result == 1) {
        done = true;
        return;
      }
      if (why == SSL_ERROR_SSL) return;
      if (fin || !sending) {
        if (!sending) drain_after_break();
        if (end == TlsEnd::kOpen) end = fin ? TlsEnd::kTruncated : TlsEnd::kReset;
        return;
      }
      if (flight == options.handshake_flights && ciphertext.empty()) return;
      wait(!ciphertext.empty());
      pull();
    }
  }

  // A send failed: what the gateway said before may still lie in the receive buffer.
  void drain_after_break() {
    const TlsEnd before = end;
    pull();
    if (done) {
      decrypt();
    } else if (before == TlsEnd::kOpen) {
      ERR_clear_error();
      const int result = SSL_do_handshake(ssl);
      if (result != 1 && SSL_get_error(ssl, result) == SSL_ERROR_SSL) note_failure();
    }
  }
};

TlsClient::TlsClient(const std::string& address, ClientOptions options)
    : TlsClient(connect_to(address, options.source), options) {}

TlsClient::TlsClient(Fd socket, ClientOptions options)
    : state_(std::make_unique<State>(std::move(socket), std::move(options))) {
  if (state_->options.socket_buffer > 0) {
    const int size = state_->options.socket_buffer;
    ::setsockopt(state_->socket.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    ::setsockopt(state_->socket.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  state_->make();
  state_->handshake();
}

TlsClient::~TlsClient() = default;
TlsClient::TlsClient(TlsClient&&) noexcept = default;
TlsClient& TlsClient::operator=(TlsClient&&) noexcept = default;

void TlsClient::finish_handshake() {
  state_->options.handshake_flights = 0;
  state_->handshake();
}

bool TlsClient::connected() const {
  return state_->done;
}
TlsEnd TlsClient::end() const {
  return state_->end;
}
std::optional<int> TlsClient::alert() const {
  return state_->alert;
}
std::string TlsClient::tls_error() const {
  return state_->error;
}

void TlsClient::hold(std::string_view data) {
  if (SSL_write(state_->ssl, data.data(), static_cast<int>(data.size())) <= 0) {
    throw TestFailure("TlsClient: SSL_write");
  }
}

bool TlsClient::flush() {
  for (;;) {
    if (!state_->push()) return false;
    if (state_->ciphertext.empty()) return true;
    state_->wait(true);
    // Reading meanwhile, so that a peer that answers while we send does not stall us.
    state_->pull();
    state_->decrypt();
    if (state_->end == TlsEnd::kReset) return false;
  }
}

std::size_t TlsClient::flush_some() {
  state_->push();
  return state_->ciphertext.size();
}

bool TlsClient::send(std::string_view data) {
  while (!data.empty()) {
    const std::size_t size = std::min<std::size_t>(data.size(), 65536);
    hold(data.substr(0, size));
    if (!flush()) return false;
    data.remove_prefix(size);
  }
  return true;
}

std::string TlsClient::receive(std::size_t enough) {
  State& state = *state_;
  if (!state.done) return {};
  for (;;) {
    state.decrypt();
    if (state.plaintext.size() >= enough || state.end != TlsEnd::kOpen) break;
    state.push();  // answers that OpenSSL owes, to a KeyUpdate for one
    state.wait(!state.ciphertext.empty());
    state.pull();
  }
  const std::size_t size = std::min(enough, state.plaintext.size());
  std::string result = state.plaintext.substr(0, size);
  state.plaintext.erase(0, size);
  return result;
}

std::string TlsClient::receive_all() {
  return receive(static_cast<std::size_t>(-1));
}

std::string TlsClient::exchange(std::string_view data, std::size_t expected) {
  State& state = *state_;
  if (!state.done) return {};
  for (;;) {
    while (!data.empty() && state.ciphertext.size() < 65536) {
      const std::size_t size = std::min<std::size_t>(data.size(), 16384);
      hold(data.substr(0, size));
      data.remove_prefix(size);
      state.take_output();
    }
    const bool sending = state.push();
    state.decrypt();
    if (!sending || state.end != TlsEnd::kOpen) break;
    if (data.empty() && state.ciphertext.empty() && state.plaintext.size() >= expected) break;
    state.wait(!state.ciphertext.empty());
    state.pull();
  }
  return std::exchange(state.plaintext, {});
}

bool TlsClient::echo(std::string_view data) {
  return exchange(data, data.size()) == data;
}

void TlsClient::close_notify() {
  SSL_shutdown(state_->ssl);
  flush();
}

void TlsClient::shutdown_write() {
  flush();
  ::shutdown(state_->socket.get(), SHUT_WR);
}

void TlsClient::abrupt_close() {
  state_->socket.close();
}
void TlsClient::reset() {
  state_->socket.reset();
}

void TlsClient::key_update(bool ask_peer) {
  State::must(SSL_key_update(state_->ssl,
                             ask_peer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED));
  State::must(SSL_do_handshake(state_->ssl));
  flush();
}

std::shared_ptr<SSL_SESSION> TlsClient::session() {
  State& state = *state_;
  for (;;) {
    state.decrypt();
    if (state.latest_session || state.end != TlsEnd::kOpen) break;
    state.wait(false);
    state.pull();
  }
  return state.latest_session;
}

std::size_t TlsClient::tickets_received() const {
  return state_->tickets;
}
bool TlsClient::resumed() const {
  return SSL_session_reused(state_->ssl) == 1;
}
std::string TlsClient::cipher() const {
  const char* name = SSL_CIPHER_get_name(SSL_get_current_cipher(state_->ssl));
  return name != nullptr ? name : "";
}

std::string TlsClient::group() const {
  const char* name =
      SSL_group_to_name(state_->ssl, static_cast<int>(SSL_get_negotiated_group(state_->ssl)));
  return name != nullptr ? name : "";
}

std::string TlsClient::selected_alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(state_->ssl, &name, &size);
  return name == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(name), size);
}

std::uint64_t TlsClient::server_serial() const {
  const X509* certificate = SSL_get0_peer_certificate(state_->ssl);
  std::uint64_t serial = 0;
  if (certificate != nullptr) {
    ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(certificate));
  }
  return serial;
}

std::string TlsClient::local_address() const {
  return test::local_address(state_->socket).to_string();
}
Fd& TlsClient::socket() {
  return state_->socket;
}
SSL* TlsClient::ssl() {
  return state_->ssl;
}

}  // namespace sallyport::test
