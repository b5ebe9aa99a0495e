#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/base/secret_bytes.h"
#include "ktls/handshake/client_hello.h"
#include "ktls/handshake/engine.h"
#include "ktls/handshake/outcome.h"
#include "ktls/handshake/server_context.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/peer_trust.h"
#include "ktls/trust/presented_certificate.h"

namespace sallyport::ktls {

/// What the route that was chosen asks of the rest of a handshake.
struct RouteTerms {
  /// The protocol to confirm, one of the offer; empty: none.
  std::string_view alpn = {};
  /// Those that may pass, in case that not all names of CAs fit.
  CaNames::Clients clients = nullptr;
  /// Null: that of the handshake. Of the same library, listeners and settings: it differs in
  /// credentials and trust.
  std::shared_ptr<ServerContext> context = nullptr;
  /// What tickets are bound to, beside trust and listeners: a hash of its name, say, so that a
  /// ticket opens no other route. Null: nothing.
  const Sha256* ticket_binding = nullptr;
  /// The client's certificate is wanted, take_certificate(), which a resumed session does not have:
  /// tickets are neither taken, a full handshake is made instead, nor issued.
  bool certificate = false;
};

/// The server's side of one mutual TLS handshake: 1.3, or 1.2 where the settings allow it, which
/// must then have the extended master secret and is never resumed. No IO: ciphertext goes in by
/// feed(), comes out by output(). Neither copies nor moves. One thread at a time; it may be another
/// than the shard's, except for intern_trust(): what handshakes of one context share is locked.
///
///   feed() / advance() / send output() ... until kHello: accept() or reject(); go on at once
///   ... until kDone or kFailed
///   kDone:   intern_trust(); authorise outcome(); issue_tickets(); send take_output(); finish()
///   kFailed: send output() (the alert), look at failure()
class ServerHandshake {
 public:
  enum class Step : std::uint8_t {
    kWantRead,  ///< send output() if there is any, then feed() more
    kHello,     ///< hello() was read; accept() or reject() it, then advance() again
    kDone,      ///< authenticated; output() may still hold bytes to send
    kFailed,    ///< output() holds the alert, if one can be sent
  };

  explicit ServerHandshake(std::shared_ptr<ServerContext> context);
  ~ServerHandshake();
  ServerHandshake(const ServerHandshake&) = delete;
  ServerHandshake& operator=(const ServerHandshake&) = delete;

  /// Copies received bytes, in pieces of any size. After kDone they are added to the leftover.
  void feed(std::span<const std::byte> ciphertext) { engine_.feed(ciphertext); }

  /// The bytes of memory that it may hold while it waits for the client, an upper bound.
  [[nodiscard]] std::size_t memory() const { return engine_.memory() + ca_names_memory_; }

  /// Whether advance() would do anything: a whole record was fed, or bytes that can never be one.
  [[nodiscard]] bool can_advance() const noexcept { return engine_.can_advance(); }

  /// Goes on with the bytes that were fed. Up to kHello it takes some microseconds, the step with
  /// the client's certificate some 300.
  Step advance();

  /// After kHello: the ClientHello. Its views live as long as the handshake.
  [[nodiscard]] const ClientHello& hello() const noexcept { return hello_; }
  /// After kHello, once: the handshake goes on under these terms. What they refer to lives until
  /// the next advance() has returned.
  void accept(RouteTerms terms);
  /// After kHello, once, before a certificate is asked for: the next advance() fails with `why`
  /// and the alert of its result, internal_error where that has none.
  void reject(HandshakeFailure why);

  /// Bytes to send, in order; valid until the next call that is not const.
  [[nodiscard]] std::span<const std::byte> output() const { return engine_.output(); }
  /// All of output() was sent.
  void output_sent() { engine_.output_sent(); }

  /// After kDone: all members but state and leftover.
  [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }

  /// After kDone, on the shard's thread: outcome().trust becomes the object that equal peers of the
  /// shard share.
  void intern_trust();

  /// After kDone, once: the client's own certificate in DER, if the terms asked for it; else
  /// nothing.
  [[nodiscard]] std::vector<std::byte> take_certificate() noexcept {
    return std::exchange(certificate_, {});
  }

  /// After kDone and authorisation, once: puts the configured number of tickets (one, if resumed)
  /// into output(). None if tickets are off, the trust is about to run out, the client's
  /// certificate is wanted, or this is TLS 1.2, whose tickets would go out before authorisation.
  void issue_tickets();

  /// After kDone: frees OpenSSL's part, some 10 µs, and returns the bytes of output(), which is
  /// empty from then on.
  [[nodiscard]] std::vector<std::byte> take_output() { return engine_.free_openssl(); }

  /// After kDone, once: the outcome with state and leftover. output() must have been sent or taken
  /// before: it is invalid from then on.
  [[nodiscard]] Outcome finish();

  /// After kFailed.
  [[nodiscard]] const HandshakeFailure& failure() const noexcept { return engine_.failure(); }

  /// Of a handshake that ends before kDone, whoever ends it: the client's own certificate, whose
  /// chain was good, as a claim, since the client has not proven that it has the key. Null where no
  /// certificate came so far.
  [[nodiscard]] std::shared_ptr<const PresentedCertificate> unproven() const;

 private:
  friend class ServerContext;

  enum class HelloState : std::uint8_t {
    kAwaited,   ///< not read yet
    kRead,      ///< read; accept() or reject() is awaited
    kAccepted,  ///< accepted; OpenSSL does not have the decision yet
    kRejected,
    kPassed,  ///< OpenSSL goes on; a second hello answers a HelloRetryRequest
  };

  // OpenSSL's callbacks; each finds its handshake by the engine's owner().
  static ServerHandshake& of(const SSL* ssl);
  static int on_hello(SSL* ssl, int* alert, void*);
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                     const unsigned char* in, unsigned in_size, void*);
  static int on_verify(X509_STORE_CTX* store, void*);
  static int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                           EVP_MAC_CTX* mac, int sealing);
  static int on_make_ticket(SSL* ssl, void*);
  static SSL_TICKET_RETURN on_open_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char* name,
                                          std::size_t name_size, SSL_TICKET_STATUS status, void*);
  /// Sets these in `context`.
  static void install_callbacks(SSL_CTX* context);

  int handle_hello(int* alert);
  int read_hello(int* alert);
  void limit_fragments();
  int continue_with_hello(int* alert);
  bool take_terms();
  bool choose_curve();
  int compare_second_hello(int* alert);
  int refuse_hello(HandshakeResult result, int description, const char* detail, int* alert);
  bool becomes_tls12() const;

  Step complete();
  bool send_tickets(std::chrono::seconds lifetime);
  void take_ticket(std::span<const std::byte> new_session_ticket);
  SslSessionPtr bare_session(std::span<const std::byte> psk, std::chrono::seconds lifetime) const;
  bool accepts_ticket(SSL_SESSION* session) const;
  static std::optional<TicketContent> ticket_content(SSL_SESSION* session);
  std::optional<std::chrono::seconds> ticket_lifetime() const;
  SSL* ssl() const noexcept { return engine_.ssl(); }

  std::shared_ptr<ServerContext> context_;
  HandshakeEngine engine_;
  HelloState hello_state_ = HelloState::kAwaited;
  bool complete_ = false;
  std::string sni_, alpn_offer_;             ///< hello_ points into these
  std::vector<std::string_view> protocols_;  ///< of alpn_offer_
  ClientHello hello_;
  std::size_t ca_names_memory_ = 0;  ///< of names for this handshake alone
  RouteTerms terms_;                 ///< from accept() on until OpenSSL has them
  std::string confirmed_alpn_;       ///< to be confirmed; empty: none
  bool wants_certificate_ = false;
  std::vector<std::byte> certificate_;  ///< once complete, if it is wanted
  struct TicketPsk {
    SecretBytes<kMaxHashSize> psk;
    std::array<std::byte, 4> age_add{};
    std::vector<std::byte> nonce;  ///< empty: not known yet
  };
  std::vector<std::byte> ticket_content_;   ///< a serialised TicketContent, during issue_tickets()
  std::deque<TicketPsk> ticket_psks_;       ///< as OpenSSL derived them, until issue_tickets()
  std::shared_ptr<const PeerTrust> trust_;  ///< set by the verify callback
  Outcome outcome_;
};

}  // namespace sallyport::ktls
