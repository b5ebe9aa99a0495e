#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/server_context.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// What the ClientHello says that routing needs. Views die with the call.
struct ClientHello {
  std::string_view sni;  ///< host_name as it came: any case, any bytes; empty: none
  std::span<const std::string_view> alpn;  ///< the client's offer in its order; empty: none
};

enum class HelloRefusal : std::uint8_t {
  kNoRoute,                ///< alert unrecognized_name
  kNoApplicationProtocol,  ///< alert no_application_protocol
};

struct RouteVerdict {
  std::string alpn;  ///< the protocol to confirm, one of the offer; empty: none
};

/// Asked once per handshake, resumed or not, before any certificate is sent or asked for.
using RouteByHello =
    std::move_only_function<std::expected<RouteVerdict, HelloRefusal>(const ClientHello&)>;

/// What a finished handshake leaves behind.
struct Outcome {
  std::shared_ptr<const PeerTrust> trust;     ///< never null; interned per shard by finish()
  std::chrono::sys_seconds authenticated_at;  ///< of the last full handshake of this trust
  bool resumed = false;
  std::string sni;           ///< as in ClientHello
  std::string alpn;          ///< as confirmed
  std::string_view version;  ///< "TLSv1.3", "TLSv1.2"; static storage, as the next two
  std::string_view cipher;   ///< OpenSSL's name: "TLS_AES_128_GCM_SHA256", in TLS 1.2 "ECDHE-..."
  std::string_view group;    ///< "X25519", "X25519MLKEM768", "P-256", ...; "other"
  /// Secrets and sequence numbers; final only in what finish() returns.
  SessionState state;
  /// Ciphertext behind the client's Finished, from the first byte of a record on, byte-exact.
  std::vector<std::byte> leftover;
};

/// The server's side of one mutual TLS handshake: 1.3, or 1.2 where the settings allow it, which
/// must then have the extended master secret and is never resumed. No IO: ciphertext goes in by
/// feed(), comes out by output(). Neither copies nor moves. One thread at a time, and all but
/// finish() may be another than the shard's: what handshakes of one context share locks itself.
///
///   feed() / advance() / send output() ... until kDone or kFailed
///   kDone:   look at outcome(), authorise; issue_tickets(); send output(); finish()
///   kFailed: send output() (the alert), look at failure()
class ServerHandshake {
 public:
  enum class Step {
    kWantRead,  ///< send output() if there is any, then feed() more
    kDone,      ///< authenticated; output() may still hold bytes to send
    kFailed,    ///< output() holds the alert, if one can be sent
  };

  ServerHandshake(std::shared_ptr<ServerContext> context, RouteByHello route);
  ~ServerHandshake();
  ServerHandshake(const ServerHandshake&) = delete;
  ServerHandshake& operator=(const ServerHandshake&) = delete;

  /// Takes what was received, copying it; any piece of any size. OpenSSL is given whole records
  /// only and nothing behind Finished. After kDone it adds to the leftover.
  void feed(std::span<const std::byte> ciphertext);

  /// Whether advance() would do anything: a whole record was fed, or what can never be one.
  bool can_advance() const noexcept;

  /// Goes on with what was fed. The step with the client's certificate takes some 300 µs.
  Step advance();

  /// Bytes to send, in order; valid until the next advance(), issue_tickets(), free_openssl() or
  /// output_sent().
  std::span<const std::byte> output() const;
  /// All of output() was sent.
  void output_sent();

  /// A whole ClientHello was read (whatever it said).
  bool saw_hello() const noexcept { return saw_hello_; }
  /// Any byte was fed at all.
  bool saw_bytes() const noexcept { return saw_bytes_; }

  /// After kDone: everything but the final state.tx.rec_seq and leftover.
  const Outcome& outcome() const noexcept { return outcome_; }

  /// After kDone and authorisation, once: puts the configured number of tickets (one, if resumed)
  /// into output(). None if tickets are off, the trust is about to run out, or this is TLS 1.2,
  /// whose tickets would go out before authorisation.
  void issue_tickets();

  /// After kDone and issue_tickets(), for whoever wants it done where advance() is: frees OpenSSL's
  /// part and hands over what output() held; there is none any more.
  std::vector<std::byte> free_openssl();

  /// After kDone, once, on the shard's thread: frees what is left of the SSL and hands over the
  /// rest. output() must have been sent or taken before: it dies here.
  Outcome finish();

  /// After kFailed; also what is known so far (SNI is not among it) for failures that the caller
  /// names, such as handshake_timeout.
  const HandshakeFailure& failure() const noexcept { return failure_; }
  /// The ClientHello's server name as far as it was read.
  std::string_view sni() const noexcept { return outcome_.sni; }

 private:
  friend class ServerContext;

  enum class State { kRunning, kDone, kFailed, kFinished };

  // OpenSSL's callbacks; each finds its handshake by SSL_get_app_data.
  static ServerHandshake& of(const SSL* ssl);
  static int on_hello(SSL* ssl, int* alert, void*);
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                     const unsigned char* in, unsigned in_size, void*);
  static int on_verify(X509_STORE_CTX* store, void*);
  static void on_keylog(const SSL* ssl, const char* line);
  static void on_message(int write, int version, int type, const void* data, std::size_t size,
                         SSL* ssl, void*);
  static int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                           EVP_MAC_CTX* mac, int sealing);
  static int on_make_ticket(SSL* ssl, void*);
  static SSL_TICKET_RETURN on_open_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char* name,
                                          std::size_t name_size, SSL_TICKET_STATUS status, void*);

  int hello(int* alert);
  bool becomes_tls12() const;
  bool derive_tls12_keys(CipherSuite suite);
  int verify(X509_STORE_CTX* store);
  bool issue(unsigned tickets, std::chrono::seconds lifetime);
  bool let_openssl_issue(unsigned tickets);
  SslSessionPtr bare_session(std::span<const std::byte> psk, std::chrono::seconds lifetime) const;
  bool make_ticket();
  bool ticket_fits(SSL_SESSION* session) const;
  static std::optional<TicketContent> ticket_content(SSL_SESSION* session);
  std::optional<std::chrono::seconds> ticket_lifetime() const;

  Step step(std::span<const std::byte> bytes);
  Step reject(std::span<const std::byte> header);
  Step complete();
  Step fail(HandshakeFailure failure, std::optional<AlertDescription> alert);
  void refuse(HandshakeFailure failure);

  std::shared_ptr<ServerContext> context_;
  RouteByHello route_;
  SslPtr ssl_;
  BIO* in_ = nullptr;   ///< owned by ssl_
  BIO* out_ = nullptr;  ///< owned by ssl_
  State state_ = State::kRunning;
  bool saw_bytes_ = false;
  bool saw_hello_ = false;
  bool wrote_ = false;  ///< OpenSSL has written something: from now on alerts may be sealed
  std::vector<std::byte> received_;
  std::size_t consumed_ = 0;  ///< of received_, already given to OpenSSL
  std::vector<std::byte> alert_;
  std::vector<std::string> offered_;        ///< ALPN of the first ClientHello
  std::string confirmed_alpn_;              ///< what the route wants confirmed
  TrafficSecret resumption_;                ///< the resumption master secret, if we are told
  std::vector<std::byte> ticket_;           ///< what issue_tickets() has sealed into them
  std::shared_ptr<const PeerTrust> trust_;  ///< as the verify callback found it
  std::uint64_t sent_records_ = 0;          ///< after our Finished
  std::uint64_t taken_records_ = 0;         ///< after the client's last ChangeCipherSpec
  bool refused_ = false;                    ///< failure_ was set by a callback of ours
  HandshakeFailure failure_;
  Outcome outcome_;
};

}  // namespace sallyport::ktls
