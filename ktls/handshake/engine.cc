#include "ktls/handshake/engine.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "ktls/base/hex.h"
#include "ktls/base/secret_bytes.h"
#include "ktls/base/wire.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/handshake/handshake_error.h"
#include "ktls/keys/key_block.h"
#include "ktls/openssl/spoiled_message.h"
#include "ktls/records/record.h"
#include "ktls/trust/certificate_message.h"

namespace sallyport::ktls {
namespace {

// What a handshake may take. One-byte records of a whole flight are within it; each costs OpenSSL
// some µs, and the gateway a step.
constexpr unsigned kMostRecords = 2048;

// What OpenSSL holds for one handshake that waits for its peer, beside its BIOs: 40 to 45 KiB, from
// 3.5 on up to 59; for a message that the peer has begun, which it takes once the size is
// announced, the largest and a third more; and for each byte of a Certificate message that it has
// decoded, where names of many short parts take most. handshake_memory_test compares.
constexpr std::size_t kOpensslMemory = std::size_t{60} << 10;
template <std::size_t kLargest>
constexpr std::size_t kMessageMemory = kLargest / 3 * 4 + 4096;
constexpr std::size_t kClientMessageMemory = kMessageMemory<kMaxCertificateMessage>;
// Of a server OpenSSL takes a ServerKeyExchange of so much (TLS 1.2), and a ServerHello of 64 KiB.
constexpr std::size_t kServerMessageMemory = kMessageMemory<std::size_t{100} << 10>;
constexpr std::size_t kDecodedFactor = 24;

// The header of no record: OpenSSL answers it with unexpected_message.
constexpr std::array<std::byte, kRecordHeaderSize> kNoRecord{
    std::byte{0xff}, std::byte{3}, std::byte{3}, std::byte{0}, std::byte{1}};

// A text for the log about bytes that are not TLS.
std::string not_tls_text(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes).substr(0, 8);
  for (const std::string_view method :
       {"GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT ", "HTTP/"})
    if (text.starts_with(method.substr(0, text.size()))) return "plaintext HTTP, not TLS";
  return "not TLS: the first byte is " + std::to_string(std::to_integer<int>(bytes.front()));
}

// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 4.1.3): the SHA-256 of its
// name.
constexpr std::array<unsigned char, 32> kHelloRetryRandom{
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

// Of a message with its header, type and version being in front of the random.
bool is_hello_retry_request(std::span<const unsigned char> server_hello) {
  static constexpr std::size_t kRandom = kHandshakeHeaderSize + 2;
  return server_hello.size() >= kRandom + kHelloRetryRandom.size() &&
         std::ranges::equal(server_hello.subspan(kRandom, kHelloRetryRandom.size()),
                            kHelloRetryRandom);
}

std::size_t capacity(BIO* memory) {
  BUF_MEM* buffer = nullptr;
  BIO_get_mem_ptr(memory, &buffer);
  return buffer->max;
}

std::optional<TrafficSecret> parse_secret(std::string_view hex) {
  SecretBytes<kMaxHashSize> secret;
  const std::size_t size = hex.size() / 2;
  if (size > kMaxHashSize || !decode_hex(hex, secret.resize(size))) return std::nullopt;
  return TrafficSecret(secret.bytes());
}

}  // namespace

HandshakeEngine::HandshakeEngine(SSL_CTX* context, void* owner)
    : owner_(owner), ssl_(SSL_new(context)) {
  BioPtr in(BIO_new(BIO_s_mem()));
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!ssl_ || !in || !out) throw std::bad_alloc();
  BIO_set_mem_eof_return(in.get(), -1);  // an empty BIO is no end of file
  BIO_set_mem_eof_return(out.get(), -1);
  in_ = in.release();
  out_ = out.release();
  SSL_set_bio(ssl_.get(), in_, out_);
  SSL_set_app_data(ssl_.get(), this);
}

void HandshakeEngine::set_client() noexcept {
  own_ = Role::kClient;
  state_ = State::kSuspended;
  SSL_set_connect_state(ssl());
}

HandshakeEngine& HandshakeEngine::of(const SSL* ssl) {
  auto* engine = static_cast<HandshakeEngine*>(SSL_get_app_data(ssl));
  if (engine == nullptr) std::abort();
  return *engine;
}

void HandshakeEngine::feed(std::span<const std::byte> ciphertext) {
  if (ciphertext.empty()) return;
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(consumed_));
  consumed_ = 0;
  received_.insert(received_.end(), ciphertext.begin(), ciphertext.end());
}

std::size_t HandshakeEngine::memory() const {
  std::size_t memory = received_.capacity() + unsent_.capacity();
  if (ssl_) memory += kOpensslMemory + capacity(in_) + capacity(out_);
  if (ssl_ && peer_began_) {
    memory += own_ == Role::kServer ? kClientMessageMemory : kServerMessageMemory;
    memory += kDecodedFactor * certificate_bytes_;
  }
  return memory;
}

bool HandshakeEngine::can_advance() const noexcept {
  return state_ == State::kSuspended || holds_record(std::span(received_).subspan(consumed_));
}

HandshakeEngine::Step HandshakeEngine::advance() {
  if (state_ == State::kSuspended) {
    state_ = State::kRunning;
    if (const Step next = run({}); next != Step::kWantRead) return next;
  }
  while (state_ == State::kRunning) {
    const std::span<const std::byte> rest = std::span(received_).subspan(consumed_);
    if (rest.empty()) return Step::kWantRead;
    if (!alerts_by_openssl_ && !is_content_type(rest.front())) {
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
    received_records_ = header.type == ContentType::kChangeCipherSpec ? 0 : received_records_ + 1;
    if (own_ == Role::kServer && hello_awaited_ && header.type == ContentType::kHandshake &&
        announces_large_hello(rest.subspan(kRecordHeaderSize, header.length))) {
      return fail(
          {.result = HandshakeResult::kUnexpectedMessage,
           .detail = "ClientHello of more than " + std::to_string(kMaxClientHello) + " bytes"},
          AlertDescription::kIllegalParameter);
    }
    peer_began_ = peer_began_ || own_ == Role::kClient || !hello_awaited_;
    if (++records_ > kMostRecords) {
      refuse({.result = HandshakeResult::kUnexpectedMessage,
              .detail = "more than " + std::to_string(kMostRecords) + " records"});
      if (alerts_by_openssl_) return reject(kNoRecord);
      return fail(std::move(failure_), AlertDescription::kUnexpectedMessage);
    }
    if (const Step next = run(rest.first(size)); next != Step::kWantRead) return next;
  }
  return state_ == State::kFailed ? Step::kFailed : Step::kDone;
}

// Whether this is the fragment with which the header of a ClientHello becomes whole, and OpenSSL
// would take memory for a message that is too large.
bool HandshakeEngine::announces_large_hello(std::span<const std::byte> fragment) {
  const std::size_t missing = kHandshakeHeaderSize - hello_start_.size();
  const auto start = fragment.first(std::min(missing, fragment.size()));
  hello_start_.insert(hello_start_.end(), start.begin(), start.end());
  return client_hello_size(hello_start_).value_or(0) > kMaxClientHello;
}

// Refuses a header that announces no record of ours. OpenSSL gets it first, to choose the alert and
// seal it if keys are in use. Of TLS 1.2 it looks at the type of whole records only: where no alert
// but its own is possible it gets a rest of zeros, for that of the peer may never come.
HandshakeEngine::Step HandshakeEngine::reject(std::span<const std::byte> header) {
  if (const Step next = run(header); next != Step::kWantRead) return next;
  if (alerts_by_openssl_) {
    const std::vector<std::byte> rest(
        RecordHeader::parse(header.first<kRecordHeaderSize>()).length);
    if (const Step next = run(rest); next != Step::kWantRead) return next;
  }
  return fail({.result = HandshakeResult::kUnexpectedMessage,
               .detail = "record header with an impossible type, version or length"},
              AlertDescription::kRecordOverflow);
}

HandshakeEngine::Step HandshakeEngine::run(std::span<const std::byte> record) {
  ERR_clear_error();
  const int size = static_cast<int>(record.size());
  if (size > 0 && BIO_write(in_, record.data(), size) != size) throw std::bad_alloc();
  const int done = [this] {
    const SecretTap tap(secrets_);
    return SSL_do_handshake(ssl_.get());
  }();
  alerts_by_openssl_ = alerts_by_openssl_ || BIO_ctrl_pending(out_) > 0;
  if (done == 1) {
    state_ = State::kDone;
    return Step::kDone;
  }
  const int error = SSL_get_error(ssl_.get(), done);
  if (error == SSL_ERROR_WANT_READ) return Step::kWantRead;
  if (error == SSL_ERROR_WANT_CLIENT_HELLO_CB) {
    // It may wait behind many others: OpenSSL's write buffer of 16 KiB is made again when it is
    // needed. Not freed where a record is pending, which is right then.
    (void)SSL_free_buffers(ssl_.get());
    state_ = State::kSuspended;
    return Step::kSuspended;
  }
  if (refused_) return fail(std::move(failure_), std::nullopt);
  if (error == SSL_ERROR_ZERO_RETURN)
    return fail(
        {.result = HandshakeResult::kPeerConnectionClosed, .detail = "the peer sent close_notify"},
        std::nullopt);
  OpensslError why = OpensslError::drain("handshake failed without a reason");
  const HandshakeResult result = result_of_handshake_error(why);
  return fail({.result = result, .detail = std::move(why.text)},
              result == HandshakeResult::kUnexpectedMessage
                  ? std::optional(AlertDescription::kUnexpectedMessage)
                  : std::nullopt);
}

HandshakeEngine::Step HandshakeEngine::fail(HandshakeFailure failure,
                                            std::optional<AlertDescription> alert) {
  const std::span<const std::byte> pending = output();
  unsent_.assign(pending.begin(), pending.end());
  if (alert && !alerts_by_openssl_) {
    const auto record = plaintext_alert(*alert);
    unsent_.insert(unsent_.end(), record.begin(), record.end());
  }
  failure_ = std::move(failure);
  state_ = State::kFailed;
  ssl_.reset();
  received_ = {};
  consumed_ = 0;
  return Step::kFailed;
}

void HandshakeEngine::refuse(HandshakeFailure failure) {
  if (refused_) return;
  refused_ = true;
  failure_ = std::move(failure);
}

std::span<const std::byte> HandshakeEngine::output() const {
  if (!ssl_) return unsent_;
  char* data = nullptr;
  const long size = BIO_get_mem_data(out_, &data);
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

void HandshakeEngine::output_sent() {
  unsent_.clear();
  if (hello_awaited_) alerts_by_openssl_ = false;  // a HelloRetryRequest or a ClientHello
  if (ssl_) (void)BIO_reset(out_);
}

bool HandshakeEngine::finished_is_followed() const {
  return SSL_has_pending(ssl_.get()) == 1;  // SSL_pending() counts application data alone
}

bool HandshakeEngine::append_output(std::span<const std::byte> records, std::uint64_t count) {
  const int size = static_cast<int>(records.size());
  if (BIO_write(out_, records.data(), size) != size) return false;
  sent_records_ += count;
  return true;
}

void HandshakeEngine::drop_tickets() {
  (void)BIO_reset(out_);
  sent_records_ = 0;
}

std::vector<std::byte> HandshakeEngine::free_openssl() {
  if (state_ != State::kDone) std::abort();
  if (ssl_) (void)release_openssl();
  return std::exchange(unsent_, {});
}

SslPtr HandshakeEngine::release_openssl() {
  if (state_ != State::kDone) std::abort();
  const std::span<const std::byte> pending = output();
  unsent_.assign(pending.begin(), pending.end());
  (void)BIO_reset(out_);
  SSL_set_msg_callback(ssl(), nullptr);
  SSL_set_app_data(ssl(), nullptr);
  return std::move(ssl_);
}

std::vector<std::byte> HandshakeEngine::take_leftover() {
  if (state_ != State::kDone) std::abort();
  std::vector<std::byte> leftover(received_.begin() + static_cast<std::ptrdiff_t>(consumed_),
                                  received_.end());
  received_ = {};
  consumed_ = 0;
  return leftover;
}

// ---- secrets and sequence numbers

bool HandshakeEngine::collect_secrets(RecordVersion version, CipherSuite suite) {
  if (version == RecordVersion::kTls12) return derive_tls12_secrets(suite);
  return secrets_.client.secret().bytes().size() == hash_size(suite) &&
         secrets_.server.secret().bytes().size() == hash_size(suite);
}

bool HandshakeEngine::derive_tls12_secrets(CipherSuite suite) {
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
  secrets_.client = DirectionState(std::move(block->client));
  secrets_.server = DirectionState(std::move(block->server));
  return true;
}

// In TLS 1.2 keys change at ChangeCipherSpec, in both directions, and Finished is the first record
// under them (RFC 5246 6.1). In TLS 1.3 they change behind Finished.
std::uint64_t HandshakeEngine::next_tx_record(RecordVersion version) const noexcept {
  return sent_records_ + (version == RecordVersion::kTls12 ? 1 : 0);
}

std::uint64_t HandshakeEngine::next_rx_record(RecordVersion version) const noexcept {
  return version == RecordVersion::kTls12 ? received_records_ : 0;
}

void HandshakeEngine::install(SSL_CTX* context, bool log_keys) {
  SSL_CTX_set_msg_callback(context, on_message);
  if (log_keys) SSL_CTX_set_keylog_callback(context, on_keylog);
}

// Reads a line of the NSS key log format: label, client random, secret; the last two in
// hexadecimal. OpenSSL cleanses the line.
void HandshakeEngine::on_keylog(const SSL* ssl, const char* line) {
  const std::string_view text(line);
  ApplicationSecrets& secrets = of(ssl).secrets_;
  DirectionState* target = nullptr;
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) target = &secrets.client;
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) target = &secrets.server;
  if (target == nullptr) return;
  if (auto secret = parse_secret(text.substr(text.rfind(' ') + 1)))
    *target = DirectionState(*std::move(secret));
}

// OpenSSL is about to decode the peer's certificates.
void HandshakeEngine::on_certificate(std::span<const std::byte> message) {
  certificate_bytes_ = message.size();
  const bool tls13 = SSL_version(ssl()) == TLS1_3_VERSION;
  auto refused =
      refuse_certificates(message, tls13 ? RecordVersion::kTls13 : RecordVersion::kTls12);
  if (!refused) return;
  refuse(
      {.result = HandshakeResult::kCertificateVerificationFailed, .detail = std::move(*refused)});
  spoil_certificate_message(message.data());
}

// Read or written. One that is a HelloRetryRequest is answered by another ClientHello.
void HandshakeEngine::on_server_hello(std::span<const unsigned char> message) {
  hello_awaited_ = is_hello_retry_request(message);
  hello_start_.clear();
  alerts_by_openssl_ = alerts_by_openssl_ || !hello_awaited_;
}

void HandshakeEngine::on_read(std::span<const unsigned char> message) {
  const int type = message.front();
  if (type == SSL3_MT_CERTIFICATE && message.size() > kHandshakeHeaderSize)
    on_certificate(std::as_bytes(message));
  if (on_extensions_ == nullptr) return;
  if (type == SSL3_MT_SERVER_HELLO || type == SSL3_MT_ENCRYPTED_EXTENSIONS)
    on_extensions_(owner_, std::as_bytes(message));
}

// Counts records sent. Our write keys change right behind our Finished (in TLS 1.2 right before
// it), so the sequence numbers start there; the record layer goes on behind the records that are
// sealed here after it (tickets).
void HandshakeEngine::on_message(int write, int, int type, const void* data, std::size_t size,
                                 SSL* ssl, void*) {
  HandshakeEngine& engine = of(ssl);
  const std::span bytes(static_cast<const unsigned char*>(data), size);
  const bool handshake = type == SSL3_RT_HANDSHAKE && size > 0;
  if (handshake && bytes.front() == SSL3_MT_SERVER_HELLO) engine.on_server_hello(bytes);
  if (write == 0) {
    if (handshake) engine.on_read(bytes);
    return;
  }
  if (handshake) {
    const int message = bytes.front();
    if (message == SSL3_MT_FINISHED) {
      engine.sent_records_ = 0;
      // From here on OpenSSL seals no session into a ticket, which it would write out four times
      // for that: its tickets hold an identifier of its session cache. Tickets of clients were
      // opened by now.
      SSL_set_options(ssl, SSL_OP_NO_TICKET);
    }
    if (message == SSL3_MT_NEWSESSION_TICKET && engine.on_ticket_ != nullptr)
      engine.on_ticket_(engine.owner_, std::as_bytes(bytes));
  }
  if (type == SSL3_RT_HEADER) ++engine.sent_records_;
}

}  // namespace sallyport::ktls
