#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/keys/suite.h"
#include "ktls/openssl/tls13_kdf.h"
#include "ktls/records/record.h"
#include "ktls/trust/handshake_result.h"

namespace sallyport::ktls {

/// One TLS handshake of OpenSSL's over memory BIOs, of either role: beside set_server() and
/// set_client() that is what its SSL_CTX and the callbacks there make of it. No IO: ciphertext goes
/// in by feed() and comes out by output(). OpenSSL is given whole records only, and nothing behind
/// the peer's Finished. Neither copies nor moves. One thread at a time; any thread.
class HandshakeEngine {
 public:
  enum class Step : std::uint8_t {
    kWantRead,   ///< send output() if there is any, then feed() more
    kSuspended,  ///< a callback asked for it (SSL_CLIENT_HELLO_RETRY); advance() calls it again
    kDone,       ///< output() may still hold bytes to send
    kFailed,     ///< output() holds the alert, if one can be sent
  };

  /// `owner` is the handshake of a role, which the callbacks of `context` find by of(). It outlives
  /// the engine.
  HandshakeEngine(SSL_CTX* context, void* owner);
  HandshakeEngine(const HandshakeEngine&) = delete;
  HandshakeEngine& operator=(const HandshakeEngine&) = delete;

  /// One of these first. A client begins: its first advance() needs no bytes.
  void set_server() noexcept { SSL_set_accept_state(ssl()); }
  void set_client() noexcept;

  /// Copies received bytes, in pieces of any size.
  void feed(std::span<const std::byte> ciphertext);
  /// The bytes of memory that the handshake may hold while it waits for its peer, OpenSSL's part
  /// included: an upper bound, which the peer's last message may not have reached.
  [[nodiscard]] std::size_t memory() const;
  /// Whether advance() would do anything: a whole record was fed, or bytes that can never be one,
  /// or the handshake is suspended, or a client has not begun.
  [[nodiscard]] bool can_advance() const noexcept;
  /// Goes on with the bytes that were fed.
  Step advance();

  /// Bytes to send, in order; valid until the next call that is not const.
  [[nodiscard]] std::span<const std::byte> output() const;
  /// All of output() was sent.
  void output_sent();

  /// The engine of a handshake under way, for callbacks. Aborts where there is none.
  [[nodiscard]] static HandshakeEngine& of(const SSL* ssl);
  [[nodiscard]] void* owner() const noexcept { return owner_; }

  /// Null once the handshake failed or free_openssl() was called.
  [[nodiscard]] SSL* ssl() const noexcept { return ssl_.get(); }

  /// For a callback that is about to fail the handshake: the failure that advance() ends with. The
  /// first one counts; the alert is the one that the callback chose.
  void refuse(HandshakeFailure failure);
  /// Ends the handshake as failed: frees OpenSSL's part and keeps what OpenSSL has written, its
  /// alert too, as output(). `alert`, for a failure without one of OpenSSL's, goes behind that in
  /// plaintext, but only if nothing was written so far: no key is in use then.
  Step fail(HandshakeFailure failure, std::optional<AlertDescription> alert);
  /// After kFailed.
  [[nodiscard]] const HandshakeFailure& failure() const noexcept { return failure_; }

  /// After kDone: completes secrets(). False if OpenSSL did not report them, or they do not fit
  /// `suite`.
  [[nodiscard]] bool collect_secrets(RecordVersion version, CipherSuite suite);
  /// The application traffic secrets of both sides, without sequence numbers.
  [[nodiscard]] ApplicationSecrets& secrets() noexcept { return secrets_; }

  /// After kDone: the sequence numbers of the next record under the application keys, ours and the
  /// peer's.
  [[nodiscard]] std::uint64_t next_tx_record(RecordVersion version) const noexcept;
  [[nodiscard]] std::uint64_t next_rx_record(RecordVersion version) const noexcept;

  /// After kDone: whether the record with the peer's Finished holds more. OpenSSL refuses that by
  /// itself in TLS 1.3 only.
  [[nodiscard]] bool finished_is_followed() const;
  /// After kDone: puts `count` records that the owner sealed behind output(). False if memory is
  /// short.
  [[nodiscard]] bool append_output(std::span<const std::byte> records, std::uint64_t count);
  /// Of the Certificate message that the peer sent; 0: it sent none.
  [[nodiscard]] std::size_t certificate_bytes() const noexcept { return certificate_bytes_; }
  /// After kDone in TLS 1.3: drops the tickets that OpenSSL wrote into output(), which was empty
  /// before them, and does not count their records.
  void drop_tickets();

  /// After kDone: frees OpenSSL's part and returns the bytes of output(), which is empty from then
  /// on.
  [[nodiscard]] std::vector<std::byte> free_openssl();
  /// After kDone, as free_openssl(): gives OpenSSL's part away, which has no owner() any more and
  /// calls nobody. output() stays.
  [[nodiscard]] SslPtr release_openssl();
  /// After kDone, once: ciphertext behind the peer's Finished, from the first byte of a record on.
  [[nodiscard]] std::vector<std::byte> take_leftover();

  /// Called with each NewSessionTicket that OpenSSL writes: in plaintext, with its header. For the
  /// server's role.
  using OnTicket = void (*)(void* owner, std::span<const std::byte> message);
  void on_ticket(OnTicket call) noexcept { on_ticket_ = call; }

  /// Called with each ServerHello and EncryptedExtensions that was read, before OpenSSL decodes it:
  /// with its header. For the client's role.
  using OnExtensions = void (*)(void* owner, std::span<const std::byte> message);
  void on_extensions(OnExtensions call) noexcept { on_extensions_ = call; }

  /// Makes `context` count records and, with `log_keys`, report secrets by OpenSSL's key log: for
  /// contexts outside of our own library. In that one SecretTap takes the secrets.
  static void install(SSL_CTX* context, bool log_keys);

 private:
  enum class State : std::uint8_t { kRunning, kSuspended, kDone, kFailed };

  static void on_keylog(const SSL* ssl, const char* line);
  void on_certificate(std::span<const std::byte> message);
  void on_server_hello(std::span<const unsigned char> message);
  void on_read(std::span<const unsigned char> message);
  static void on_message(int write, int version, int type, const void* data, std::size_t size,
                         SSL* ssl, void*);

  Step run(std::span<const std::byte> record);
  bool announces_large_hello(std::span<const std::byte> fragment);
  Step reject(std::span<const std::byte> header);
  bool derive_tls12_secrets(CipherSuite suite);

  void* owner_;
  Role own_ = Role::kServer;
  OnTicket on_ticket_ = nullptr;
  OnExtensions on_extensions_ = nullptr;
  SslPtr ssl_;
  BIO* in_ = nullptr;   ///< owned by ssl_
  BIO* out_ = nullptr;  ///< owned by ssl_
  State state_ = State::kRunning;
  /// Alerts are left to OpenSSL, which may have to seal them. False before there is a ServerHello,
  /// while nothing that OpenSSL has written waits to be sent.
  bool alerts_by_openssl_ = false;
  bool refused_ = false;  ///< failure_ was set by a callback
  std::vector<std::byte> received_;
  unsigned records_ = 0;       ///< given to OpenSSL
  std::size_t consumed_ = 0;   ///< of received_, already given to OpenSSL
  bool hello_awaited_ = true;  ///< there is no ServerHello yet, but for a HelloRetryRequest
  std::vector<std::byte> hello_start_;  ///< the header of a client's that is awaited
  std::size_t certificate_bytes_ = 0;   ///< of the peer's Certificate message, once it has come
  bool peer_began_ = false;             ///< its flight: a server's, or a client's behind its hello
  std::vector<std::byte> unsent_;       ///< output() where there is no ssl_
  std::uint64_t sent_records_ = 0;      ///< after our Finished
  std::uint64_t received_records_ = 0;  ///< after the peer's last ChangeCipherSpec
  ApplicationSecrets secrets_;
  HandshakeFailure failure_;
};

}  // namespace sallyport::ktls
