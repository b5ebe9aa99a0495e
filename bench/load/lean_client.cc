#include "bench/load/lean_client.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "bench/load/fd.h"
#include "bench/load/lean_messages.h"
#include "bench/load/lean_record.h"
#include "bench/load/openssl_free.h"

namespace sallyport::bench {
namespace {

using namespace lean;

using Key = Owned<EVP_PKEY>;
using KeyContext = Owned<EVP_PKEY_CTX>;

unsigned char* octets(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* octets(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

struct LeanTicket : Ticket {
  Buffer ticket;
  Hash psk;
  uint32_t age_add;
  std::chrono::steady_clock::time_point received;
};

/// The client's Certificate message and its key.
class Identity {
 public:
  Identity(const std::string& certificate_file, const std::string& key_file) {
    errno = 0;
    const Owned<BIO> chain(BIO_new_file(certificate_file.c_str(), "r"));
    const Owned<BIO> key(BIO_new_file(key_file.c_str(), "r"));
    if (!chain || !key) die("cannot open " + certificate_file + " or " + key_file);
    Buffer list;
    for (;;) {
      const Owned<X509> certificate(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
      if (!certificate) break;
      unsigned char* der = nullptr;
      const int size = i2d_X509(certificate.get(), &der);
      put(list, static_cast<uint64_t>(size), 3);
      put(list, std::as_bytes(std::span(der, static_cast<size_t>(size))));
      put(list, 0, 2);  // no extensions
      OPENSSL_free(der);
    }
    Buffer body;
    put(body, 0, 1);  // certificate_request_context
    put(body, list.size(), 3);
    put(body, list);
    certificate_ = message(kCertificate, body);
    key_.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    if (list.empty() || !key_ || EVP_PKEY_get_id(key_.get()) != EVP_PKEY_EC ||
        EVP_PKEY_get_bits(key_.get()) != 256) {
      die("the lean client wants a certificate with an ECDSA P-256 key");
    }
    context_.reset(EVP_PKEY_CTX_new(key_.get(), nullptr));
    if (EVP_PKEY_sign_init(context_.get()) != 1) die("EVP_PKEY_sign_init");
  }

  const Buffer& certificate() const { return certificate_; }

  /// RFC 8446 4.4.3.
  Buffer certificate_verify(const Hash& transcript) const {
    constexpr std::string_view kLabel = "TLS 1.3, client CertificateVerify";
    Buffer covered(64, std::byte{0x20});
    put(covered, std::as_bytes(std::span(kLabel)));
    put(covered, 0, 1);
    put(covered, transcript);
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(octets(covered.data()), covered.size(), digest.data());
    std::array<unsigned char, 80> signature;
    size_t size = signature.size();
    if (EVP_PKEY_sign(context_.get(), signature.data(), &size, digest.data(), digest.size()) != 1) {
      die("EVP_PKEY_sign");
    }
    Buffer body;
    put(body, 0x0403, 2);  // ecdsa_secp256r1_sha256
    put(body, size, 2);
    put(body, std::as_bytes(std::span(signature).first(size)));
    return message(kCertificateVerify, body);
  }

 private:
  Buffer certificate_;
  Key key_;
  KeyContext context_;
};

/// One key pair for all connections of the process: the peer cannot tell, and it spares the load
/// generator half of its key exchange.
class KeyShare {
 public:
  KeyShare() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")) {
    size_t size = public_.size();
    if (!key_ || EVP_PKEY_get_raw_public_key(key_.get(), octets(public_.data()), &size) != 1) {
      die("cannot make an X25519 key");
    }
    context_.reset(EVP_PKEY_CTX_new(key_.get(), nullptr));
    if (EVP_PKEY_derive_init(context_.get()) != 1) die("EVP_PKEY_derive_init");
  }

  const PublicKey& public_key() const { return public_; }

  std::array<std::byte, 32> with(const PublicKey& peer) const {
    const Key other(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, octets(peer.data()), peer.size()));
    std::array<std::byte, 32> shared;
    size_t size = shared.size();
    if (!other || EVP_PKEY_derive_set_peer_ex(context_.get(), other.get(), 0) != 1 ||
        EVP_PKEY_derive(context_.get(), octets(shared.data()), &size) != 1) {
      die("X25519 failed");
    }
    return shared;
  }

 private:
  Key key_;
  KeyContext context_;
  PublicKey public_{};
};

/// What all streams of a client share.
struct Shared {
  explicit Shared(const Options& options)
      : identity(options.certificate, options.key),
        sni(options.sni),
        record(options.record != 0 ? options.record : kMaxPlaintext) {}
  Identity identity;
  KeyShare key_share;
  Records records;
  std::string sni;
  size_t record;  // most plaintext in one
  Buffer in = Buffer(256 << 10);
  Buffer opened = Buffer(256 << 10);
  Buffer out;
};

class LeanStream final : public Stream {
 public:
  LeanStream(Shared& shared, int descriptor, TicketSlot* tickets)
      : shared_(shared), descriptor_(descriptor), tickets_(tickets) {}

  Io handshake() override {
    if (!hello_sent_) {
      if (!send_hello()) return Io::kFailed;
      hello_sent_ = true;
    }
    while (!established_) {
      const Io io = fill();
      if (io != Io::kDone) return io;
      Bytes bytes = filled_;
      for (Bytes record; !established_ && next_record(bytes, record);) {
        if (!handshake_record(record)) return Io::kFailed;
      }
      keep(bytes, established_);
    }
    return Io::kDone;
  }

  Io read(std::span<const std::byte>& plaintext) override {
    for (;;) {
      if (closed_) return Io::kClosed;
      const Io io = fill();
      if (io != Io::kDone) return io;
      Bytes bytes = filled_;
      size_t size = 0;
      for (Bytes record; !closed_ && next_record(bytes, record);) {
        if (!application_record(record, size)) return Io::kFailed;
      }
      keep(bytes, false);
      if (size == 0) continue;
      plaintext = Bytes(shared_.opened).first(size);
      return Io::kDone;
    }
  }

  Io write(std::span<const std::byte> plaintext, size_t& count) override {
    constexpr size_t kMost = 16 * kMaxPlaintext;  // in one send(2)
    if (!send_pending()) return error_.empty() ? Io::kAgain : Io::kFailed;
    plaintext = plaintext.first(std::min(plaintext.size(), kMost));
    count = plaintext.size();
    shared_.out.clear();
    while (!plaintext.empty()) {
      const Bytes fragment = plaintext.first(std::min(plaintext.size(), shared_.record));
      shared_.records.seal(tx_, kApplication, fragment, shared_.out);
      plaintext = plaintext.subspan(fragment.size());
    }
    return send(shared_.out) ? Io::kDone : Io::kFailed;
  }

  void flush() override { send_pending(); }

  void close_notify() override {
    constexpr std::array kCloseNotify{std::byte{1}, std::byte{0}};
    if (!send_pending()) return;
    shared_.out.clear();
    shared_.records.seal(tx_, kAlert, kCloseNotify, shared_.out);
    send(shared_.out);
  }

  bool resumed() const override { return resumed_; }
  std::string error() const override { return error_; }

 private:
  bool fail(std::string why) {
    error_ = std::move(why);
    return false;
  }

  // --- the socket

  /// filled_: what was left, and what has come. In shared memory until keep().
  Io fill() {
    std::copy(left_.begin(), left_.end(), shared_.in.begin());
    const ssize_t count =
        ::recv(descriptor_, shared_.in.data() + left_.size(), shared_.in.size() - left_.size(), 0);
    if (count > 0 || left_has_records_) {
      filled_ =
          Bytes(shared_.in).first(left_.size() + static_cast<size_t>(std::max<ssize_t>(count, 0)));
      left_.clear();
      left_has_records_ = false;
      return Io::kDone;
    }
    if (count == 0) return Io::kClosed;
    if (errno == EAGAIN) return Io::kAgain;
    error_ = std::strerror(errno);
    return Io::kFailed;
  }

  void keep(Bytes rest, bool may_have_records) {
    left_.assign(rest.begin(), rest.end());
    left_has_records_ = may_have_records && !rest.empty();
  }

  static bool next_record(Bytes& bytes, Bytes& record) {
    if (bytes.size() < kHeaderSize) return false;
    const size_t size =
        kHeaderSize + (static_cast<size_t>(bytes[3]) << 8 | static_cast<size_t>(bytes[4]));
    if (bytes.size() < size) return false;
    record = bytes.first(size);
    bytes = bytes.subspan(size);
    return true;
  }

  /// What the socket does not take waits for flush().
  bool send(Bytes bytes) {
    const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return fail(std::strerror(errno));
    const Bytes rest = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(count, 0)));
    pending_.assign(rest.begin(), rest.end());
    return true;
  }

  /// True when nothing waits any more.
  bool send_pending() {
    if (pending_.empty()) return true;
    const Buffer bytes = std::exchange(pending_, {});
    return send(bytes) && pending_.empty();
  }

  // --- the handshake

  bool send_hello() {
    Offer offer;
    if (tickets_ != nullptr && *tickets_) {
      const auto& ticket = static_cast<const LeanTicket&>(**tickets_);
      const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - ticket.received);
      offer = {ticket.ticket, static_cast<uint32_t>(age.count()) + ticket.age_add, ticket.psk};
    }
    const bool offers = !offer.ticket.empty();
    const Buffer hello =
        client_hello(shared_.sni, shared_.key_share.public_key(), offers ? &offer : nullptr);
    // The early secret of a session that the server may refuse is made again in that case.
    if (offers) psk_ = offer.psk;
    transcript_.add(hello);
    Buffer record;
    put(record, kHandshake, 1);
    put(record, 0x0301, 2);
    put(record, hello.size(), 2);
    put(record, hello);
    return send(record);
  }

  bool handshake_record(Bytes record) {
    switch (static_cast<uint8_t>(record[0])) {
      case kChangeCipherSpec:
        return true;
      case kAlert:
        return fail("alert " + std::to_string(static_cast<int>(record.back())));
      case kHandshake:
        return server_hello(record.subspan(kHeaderSize));
      case kApplication:
        break;
      default:
        return fail("unknown record");
    }
    if (!keyed_) return fail("ciphertext before ServerHello");
    const auto [size, type] = shared_.records.open(rx_, record, shared_.opened.data());
    if (size < 0) return fail("bad record");
    const Bytes content = Bytes(shared_.opened).first(static_cast<size_t>(size));
    if (type == kAlert) return alert(content);
    if (type != kHandshake) return fail("data before Finished");
    put(messages_, content);
    return handshake_messages();
  }

  bool server_hello(Bytes bytes) {
    Reader reader(bytes);
    const uint64_t type = reader.number(1);
    const auto hello = parse_server_hello(reader.vector(3));
    if (type != kServerHello || !hello || keyed_) return fail("no usable ServerHello");
    resumed_ = hello->resumed;
    transcript_.add(bytes);
    const Hash zeros{};
    const Hash early = hkdf_extract({}, resumed_ ? psk_ : zeros);
    const Hash none = sha384({});
    const auto shared = shared_.key_share.with(hello->share);
    const Hash handshake = hkdf_extract(derive_secret(early, "derived", none), shared);
    const Hash transcript = transcript_.hash();
    tx_.use(derive_secret(handshake, "c hs traffic", transcript));
    rx_.use(derive_secret(handshake, "s hs traffic", transcript));
    master_ = hkdf_extract(derive_secret(handshake, "derived", none), zeros);
    keyed_ = true;
    return true;
  }

  bool handshake_messages() {
    Bytes rest = messages_;
    while (!established_) {
      Reader reader(rest);
      const auto type = static_cast<uint8_t>(reader.number(1));
      const Bytes body = reader.vector(3);
      if (!reader.good()) break;  // the rest of it is in the next record
      const Bytes whole = rest.first(4 + body.size());
      rest = rest.subspan(whole.size());
      if (type == kCertificateRequest) certificate_wanted_ = true;
      if (type == kFinished && !server_finished(body)) return false;
      if (type != kFinished) transcript_.add(whole);
    }
    messages_.erase(messages_.begin(), messages_.end() - static_cast<ptrdiff_t>(rest.size()));
    return true;
  }

  bool server_finished(Bytes verify_data) {
    const Hash expected = finished_mac(rx_.secret, transcript_.hash());
    if (!std::equal(verify_data.begin(), verify_data.end(), expected.begin(), expected.end())) {
      return fail("the server's Finished is wrong");
    }
    transcript_.add(message(kFinished, verify_data));
    const Hash after_server = transcript_.hash();
    if (!send_flight()) return false;
    tx_.use(derive_secret(master_, "c ap traffic", after_server));
    rx_.use(derive_secret(master_, "s ap traffic", after_server));
    if (tickets_ != nullptr) resumption_ = derive_secret(master_, "res master", transcript_.hash());
    established_ = true;
    messages_ = {};
    return true;
  }

  /// ChangeCipherSpec, Certificate, CertificateVerify, Finished: records in one segment.
  bool send_flight() {
    constexpr std::array kChange{std::byte{20}, std::byte{3}, std::byte{3},
                                 std::byte{0},  std::byte{1}, std::byte{1}};
    shared_.out.assign(kChange.begin(), kChange.end());
    const auto add = [this](const Buffer& bytes) {
      transcript_.add(bytes);
      shared_.records.seal(tx_, kHandshake, bytes, shared_.out);
    };
    if (certificate_wanted_) {
      add(shared_.identity.certificate());
      add(shared_.identity.certificate_verify(transcript_.hash()));
    }
    add(message(kFinished, finished_mac(tx_.secret, transcript_.hash())));
    return send(shared_.out);
  }

  // --- after it

  /// Appends the plaintext at `size` in the shared buffer.
  bool application_record(Bytes record, size_t& size) {
    if (record[0] != std::byte{kApplication}) return fail("plaintext record after the handshake");
    std::byte* const to = shared_.opened.data() + size;
    const auto [count, type] = shared_.records.open(rx_, record, to);
    if (count < 0) return fail("bad record");
    const Bytes content(to, static_cast<size_t>(count));
    switch (type) {
      case kApplication:
        size += content.size();
        return true;
      case kAlert:
        return alert(content);
      case kHandshake:
        return post_handshake(content);
      default:
        return fail("unknown content type");
    }
  }

  bool alert(Bytes content) {
    if (content.size() == 2 && content[1] == std::byte{0}) {
      closed_ = true;
      return true;
    }
    return fail("alert " + std::to_string(content.empty() ? -1 : static_cast<int>(content.back())));
  }

  bool post_handshake(Bytes content) {
    Reader reader(content);  // servers do not split these over records
    while (!reader.empty() && reader.good()) {
      const uint64_t type = reader.number(1);
      const Bytes body = reader.vector(3);
      if (!reader.good()) break;
      if (type == kNewSessionTicket) keep_ticket(body);
      if (type == kKeyUpdate) {
        rx_.update();
        if (body.size() == 1 && body[0] == std::byte{1} && !answer_key_update()) return false;
      }
    }
    return reader.good() ? true : fail("malformed message after the handshake");
  }

  bool answer_key_update() {
    constexpr std::array kNotRequested{std::byte{0}};
    if (!send_pending()) return fail("KeyUpdate while the socket is full");
    Buffer record;
    shared_.records.seal(tx_, kHandshake, message(kKeyUpdate, kNotRequested), record);
    tx_.update();
    return send(record);
  }

  void keep_ticket(Bytes body) {
    if (tickets_ == nullptr) return;
    Reader reader(body);
    reader.number(4);  // lifetime
    auto ticket = std::make_shared<LeanTicket>();
    ticket->age_add = static_cast<uint32_t>(reader.number(4));
    const Bytes nonce = reader.vector(1);
    put(ticket->ticket, reader.vector(2));
    ticket->psk = expand_label(resumption_, "resumption", nonce);
    ticket->received = std::chrono::steady_clock::now();
    *tickets_ = std::move(ticket);
  }

  Shared& shared_;
  int descriptor_;
  TicketSlot* tickets_;
  bool hello_sent_ = false, keyed_ = false, established_ = false, closed_ = false;
  bool certificate_wanted_ = false, resumed_ = false, left_has_records_ = false;
  Transcript transcript_;
  Hash psk_{}, master_{}, resumption_{};
  Direction tx_, rx_;
  Bytes filled_;
  Buffer left_, messages_, pending_;
  std::string error_;
};

class LeanClient final : public Client {
 public:
  explicit LeanClient(const Options& options) : shared_(options) {
    errno = 0;
    if (options.ciphersuites != "TLS_AES_256_GCM_SHA384" || options.groups != "X25519" ||
        !options.ca.empty()) {
      die("the lean client has one suite, one group, and verifies nothing");
    }
  }
  std::unique_ptr<Stream> stream(int descriptor, TicketSlot* tickets) override {
    return std::make_unique<LeanStream>(shared_, descriptor, tickets);
  }

 private:
  Shared shared_;
};

}  // namespace

std::unique_ptr<Client> lean_client(const Options& options) {
  return std::make_unique<LeanClient>(options);
}

}  // namespace sallyport::bench
