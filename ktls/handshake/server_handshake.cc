#include "ktls/handshake/server_handshake.h"

#include <openssl/err.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ktls/handshake/classify.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/keys/key_block.h"
#include "ktls/openssl/tls13_kdf.h"
#include "ktls/records/record.h"

namespace sallyport::ktls {
namespace {

std::string_view group_name(SSL* ssl) {
  const int nid = static_cast<int>(SSL_get_negotiated_group(ssl));
  switch (nid) {
    case NID_X25519:
      return "X25519";
    case NID_X448:
      return "X448";
    case NID_X9_62_prime256v1:
      return "P-256";
    case NID_secp384r1:
      return "P-384";
    case NID_secp521r1:
      return "P-521";
    default:
      break;
  }
  // A group without a NID: OpenSSL marks its code point. RFC draft ecdhe-mlkem: 0x11ec, 0x11eb.
  switch (nid & 0xffff) {
    case 0x11ec:
      return "X25519MLKEM768";
    case 0x11eb:
      return "SecP256r1MLKEM768";
    default:
      return "other";
  }
}

// What came instead of TLS, for the log.
std::string not_tls_text(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 8));
  for (const std::string_view method : {"GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT "})
    if (text.starts_with(method.substr(0, text.size()))) return "plaintext HTTP, not TLS";
  return "not TLS: the first byte is " + std::to_string(std::to_integer<int>(bytes.front()));
}

}  // namespace

ServerHandshake::ServerHandshake(std::shared_ptr<ServerContext> context, RouteByHello route)
    : context_(std::move(context)), route_(std::move(route)), ssl_(SSL_new(context_->ctx_.get())) {
  BioPtr in(BIO_new(BIO_s_mem()));
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!ssl_ || !in || !out) throw std::bad_alloc();
  BIO_set_mem_eof_return(in.get(), -1);  // empty means "more to come"
  BIO_set_mem_eof_return(out.get(), -1);
  in_ = in.release();
  out_ = out.release();
  SSL_set_bio(ssl_.get(), in_, out_);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_accept_state(ssl_.get());
}

ServerHandshake::~ServerHandshake() = default;

void ServerHandshake::feed(std::span<const std::byte> ciphertext) {
  if (ciphertext.empty()) return;
  saw_bytes_ = true;
  if (consumed_ == received_.size()) {
    received_.clear();
    consumed_ = 0;
  }
  received_.insert(received_.end(), ciphertext.begin(), ciphertext.end());
}

bool ServerHandshake::can_advance() const noexcept {
  return holds_record(std::span(received_).subspan(consumed_));
}

ServerHandshake::Step ServerHandshake::advance() {
  while (state_ == State::kRunning) {
    const std::span<const std::byte> rest = std::span(received_).subspan(consumed_);
    if (rest.empty()) return Step::kWantRead;
    if (!wrote_ && !is_content_type(rest.front())) {
      return fail({.result = HandshakeResult::kUnexpectedMessage, .detail = not_tls_text(rest)},
                  AlertDescription::kUnexpectedMessage);
    }
    if (rest.size() < kRecordHeaderSize) return Step::kWantRead;
    if (!announces_record(rest.first<kRecordHeaderSize>()))
      return reject(rest.first<kRecordHeaderSize>());
    const auto header = RecordHeader::parse(rest.first<kRecordHeaderSize>());
    const std::size_t size = kRecordHeaderSize + header.length;
    if (rest.size() < size) return Step::kWantRead;
    consumed_ += size;
    taken_records_ = header.type == ContentType::kChangeCipherSpec ? 0 : taken_records_ + 1;
    if (const Step next = step(rest.first(size)); next != Step::kWantRead) return next;
  }
  return state_ == State::kFailed ? Step::kFailed : Step::kDone;
}

// A header that announces no record of ours. OpenSSL knows best which alert that deserves, and
// under which key; if it would wait for the rest of the record, the refusal is ours.
ServerHandshake::Step ServerHandshake::reject(std::span<const std::byte> header) {
  if (const Step next = step(header); next != Step::kWantRead) return next;
  return fail({.result = HandshakeResult::kUnexpectedMessage,
               .detail = "record header with an impossible type, version or length"},
              AlertDescription::kRecordOverflow);
}

ServerHandshake::Step ServerHandshake::step(std::span<const std::byte> bytes) {
  ERR_clear_error();
  const int size = static_cast<int>(bytes.size());
  if (BIO_write(in_, bytes.data(), size) != size) throw std::bad_alloc();
  const int done = [this] {
    const SecretTap tap(outcome_.state, resumption_);
    return SSL_do_handshake(ssl_.get());
  }();
  wrote_ = wrote_ || BIO_ctrl_pending(out_) > 0;
  if (done == 1) return complete();
  const int error = SSL_get_error(ssl_.get(), done);
  if (error == SSL_ERROR_WANT_READ) return Step::kWantRead;
  if (refused_) return fail(std::move(failure_), std::nullopt);
  if (error == SSL_ERROR_ZERO_RETURN)
    return fail({.result = HandshakeResult::kPeerConnectionClosed,
                 .detail = "the client sent close_notify"},
                std::nullopt);
  OpensslError why = OpensslError::drain("handshake failed without a reason");
  const HandshakeResult result = classify_handshake_error(why);
  return fail({.result = result, .detail = std::move(why.text)},
              result == HandshakeResult::kUnexpectedMessage
                  ? std::optional(AlertDescription::kUnexpectedMessage)
                  : std::nullopt);
}

// Ends the handshake. `alert` goes out in plaintext, and only if nothing was written so far, by
// OpenSSL or for this failure: then no key is in use yet, and whoever is there gets an answer.
ServerHandshake::Step ServerHandshake::fail(HandshakeFailure failure,
                                            std::optional<AlertDescription> alert) {
  const std::span<const std::byte> pending = output();
  alert_.assign(pending.begin(), pending.end());
  if (alert && !wrote_) {
    const auto record = plaintext_alert(*alert);
    alert_.insert(alert_.end(), record.begin(), record.end());
  }
  failure_ = std::move(failure);
  state_ = State::kFailed;
  ssl_.reset();
  received_ = {};
  consumed_ = 0;
  return Step::kFailed;
}

ServerHandshake::Step ServerHandshake::complete() {
  const auto broken = [this](const char* what) {
    return fail({.result = HandshakeResult::kUnknownFailure, .detail = what}, std::nullopt);
  };
  SSL* ssl = ssl_.get();
  if (BIO_ctrl_pending(in_) != 0 || SSL_pending(ssl) != 0)
    return broken("OpenSSL left bytes of the last handshake record");

  outcome_.resumed = SSL_session_reused(ssl) == 1;
  if (outcome_.resumed) {
    auto content = ticket_content(SSL_get_session(ssl));
    if (!content) return broken("resumed session without its trust");
    outcome_.trust.reset(new PeerTrust(std::move(content->trust)));
    outcome_.authenticated_at = content->authenticated_at;
  } else {
    if (!trust_ || SSL_get_verify_result(ssl) != X509_V_OK)
      return broken("handshake finished without a verified certificate");
    outcome_.trust = std::move(trust_);
    outcome_.authenticated_at = context_->now();
  }
  trust_.reset();

  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const auto suite =
      cipher == nullptr ? std::nullopt : suite_from_code_point(SSL_CIPHER_get_protocol_id(cipher));
  const int version = SSL_version(ssl);
  if (!suite || (version != TLS1_3_VERSION && version != TLS1_2_VERSION))
    return broken("unknown suite or version");
  if (version == TLS1_2_VERSION) {
    if (SSL_get_extms_support(ssl) != 1) return broken("TLS 1.2 without extended master secret");
    if (!derive_tls12_keys(*suite)) return broken("no key block");
  } else if (outcome_.state.rx.secret.bytes().size() != hash_size(*suite) ||
             outcome_.state.tx.secret.bytes().size() != hash_size(*suite)) {
    return broken("no traffic secrets");
  }
  outcome_.state.suite = *suite;
  outcome_.version = name(outcome_.state.version);
  outcome_.cipher = SSL_CIPHER_get_name(cipher);
  outcome_.group = group_name(ssl);
  const unsigned char* alpn = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
  outcome_.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_size);
  route_ = nullptr;
  state_ = State::kDone;
  return Step::kDone;
}

// Both directions have their keys since ChangeCipherSpec, and Finished was the first record under
// them: the sequence numbers go on from there (RFC 5246 6.1).
bool ServerHandshake::derive_tls12_keys(CipherSuite suite) {
  const auto take = [](auto getter, const auto* from, std::size_t size) {
    SecretBytes<SSL_MAX_MASTER_KEY_LENGTH> taken;
    auto* out = reinterpret_cast<unsigned char*>(taken.resize(size).data());
    if (getter(from, out, size) != size) taken.clear();
    return taken;
  };
  const SSL* ssl = ssl_.get();
  const auto master =
      take(SSL_SESSION_get_master_key, SSL_get_session(ssl), SSL3_MASTER_SECRET_SIZE);
  const auto client = take(SSL_get_client_random, ssl, SSL3_RANDOM_SIZE);
  const auto server = take(SSL_get_server_random, ssl, SSL3_RANDOM_SIZE);
  if (master.empty() || client.empty() || server.empty()) return false;
  auto block = key_block(suite, master.bytes(), client.bytes(), server.bytes());
  if (!block) return false;
  SessionState& state = outcome_.state;
  state.version = RecordVersion::kTls12;
  state.rx = {std::move(block->client), taken_records_};
  state.tx.secret = std::move(block->server);
  return true;
}

std::span<const std::byte> ServerHandshake::output() const {
  if (!ssl_) return alert_;
  char* data = nullptr;
  const long size = BIO_get_mem_data(out_, &data);
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

void ServerHandshake::output_sent() {
  alert_.clear();
  if (ssl_) (void)BIO_reset(out_);
}

std::vector<std::byte> ServerHandshake::free_openssl() {
  if (state_ != State::kDone) std::abort();
  const std::span<const std::byte> pending = output();
  std::vector<std::byte> unsent(pending.begin(), pending.end());
  ssl_.reset();
  return unsent;
}

Outcome ServerHandshake::finish() {
  if (state_ != State::kDone) std::abort();
  state_ = State::kFinished;
  ssl_.reset();
  outcome_.trust = context_->trusts_.intern(std::move(outcome_.trust));
  const std::uint64_t finished = outcome_.state.version == RecordVersion::kTls12 ? 1 : 0;
  outcome_.state.tx.rec_seq = finished + sent_records_;
  outcome_.leftover.assign(received_.begin() + static_cast<std::ptrdiff_t>(consumed_),
                           received_.end());
  received_ = {};
  consumed_ = 0;
  return std::move(outcome_);
}

void ServerHandshake::refuse(HandshakeFailure failure) {
  if (refused_) return;
  refused_ = true;
  failure_ = std::move(failure);
}

}  // namespace sallyport::ktls
