#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/handshake/client_context.h"
#include "ktls/handshake/client_session.h"
#include "ktls/handshake/engine.h"
#include "ktls/handshake/outcome.h"
#include "ktls/handshake/ticket_taker.h"
#include "ktls/keys/suite.h"
#include "ktls/records/ticket_sink.h"
#include "ktls/trust/handshake_result.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// What is offered to a server, and who it must be.
struct ClientTerms {
  /// For SNI: a host name of at most 255 bytes. A dot at its end is left out, and nothing is sent
  /// for an IP literal or an empty name (RFC 6066 3). Nothing is verified by it.
  std::string_view server_name = {};
  /// Protocols for ALPN, of 1 to 255 bytes each, 65,535 with their lengths, in our order; empty:
  /// ALPN is not offered. A server may choose none of them.
  std::span<const std::string_view> alpn = {};
  RecordVersion min_version = RecordVersion::kTls13;
  /// Required. Judges the server by the identity in its verified chain, also by a cached one: a
  /// text for the log, printable, says why it is not the one that is wanted. Called during
  /// advance(), on its thread; may throw std::bad_alloc.
  std::function<std::optional<std::string>(const PeerTrust&)> refuse = {};
  /// To resume, from SessionStore::take() by the scope of these terms; null: none. It is offered
  /// only if the server that it goes back to passes judgement now as it would in a full handshake:
  /// `refuse`, anchors, dates and CRLs.
  std::shared_ptr<const ClientSession> session = {};
};

/// The client's side of one TLS handshake: 1.3, or 1.2 where the terms allow it, which must then
/// have the extended master secret. The server's certificate is verified as a client's is
/// (verify_chain()), or the facts of an earlier one are judged, where a session of the terms is
/// resumed; with a Diffie-Hellman exchange always in TLS 1.3, without early data. No IO: ciphertext
/// goes in by feed(), comes out by output(). Neither copies nor moves. One thread at a time; it may
/// be another than the shard's, except for intern_trust().
///
///   advance(), which needs no bytes, and send output(): the ClientHello
///   feed() / advance() / send output() ... until kDone or kFailed
///   kDone:   intern_trust(); look at outcome(); collect_sessions(), where sessions are wanted;
///            send take_output(); finish()
///   kFailed: send output() (the alert), look at failure()
///
/// Bytes of the server that came before its ClientHello was sent are the caller's to refuse: no
/// server of TLS speaks first.
class ClientHandshake {
 public:
  enum class Step : std::uint8_t {
    kWantRead,  ///< send output() if there is any, then feed() more
    kDone,      ///< the server is authenticated; output() may still hold bytes to send
    kFailed,    ///< output() holds the alert, if one can be sent
  };

  /// `terms` may refer to what ends behind this. Terms that are not as described there abort;
  /// throws std::bad_alloc.
  ClientHandshake(std::shared_ptr<ClientContext> context, ClientTerms terms);
  ~ClientHandshake();
  ClientHandshake(const ClientHandshake&) = delete;
  ClientHandshake& operator=(const ClientHandshake&) = delete;

  /// Copies received bytes, in pieces of any size. After kDone they are added to the leftover.
  void feed(std::span<const std::byte> ciphertext) { engine_.feed(ciphertext); }

  /// The bytes of memory that it may hold while it waits for the server, an upper bound.
  [[nodiscard]] std::size_t memory() const { return engine_.memory(); }

  /// Whether advance() would do anything: a whole record was fed, or bytes that can never be one,
  /// or the ClientHello is not written yet.
  [[nodiscard]] bool can_advance() const noexcept { return engine_.can_advance(); }

  /// Goes on with the bytes that were fed. The step with the server's certificate takes some 300
  /// µs.
  Step advance();

  /// Bytes to send, in order; valid until the next call that is not const.
  [[nodiscard]] std::span<const std::byte> output() const { return engine_.output(); }
  /// All of output() was sent.
  void output_sent() { engine_.output_sent(); }

  /// After kDone: all members but state and leftover.
  [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }

  /// After kDone, on the shard's thread: outcome().trust becomes the object that equal peers of the
  /// context share.
  void intern_trust();

  /// After kDone and intern_trust(), before take_output() and finish(): what the server gives for
  /// resumption goes to `keep`, for a SessionStore. In TLS 1.2 that is at once, and null comes
  /// back. In TLS 1.3 it comes later, as records: what comes back makes sessions of them, and calls
  /// `keep` during its take(). It has taken OpenSSL's part with it, 40 to 60 KiB, and its caller
  /// bounds how long that is kept: most servers send tickets within a round trip. Null too where
  /// the server's certificates are too large to be kept.
  [[nodiscard]] std::unique_ptr<TicketSink> collect_sessions(TicketTaker::Keep keep);

  /// After kDone: frees OpenSSL's part, some 10 µs, and returns the bytes of output(), which is
  /// empty from then on.
  [[nodiscard]] std::vector<std::byte> take_output() { return engine_.free_openssl(); }

  /// After kDone, once: the outcome with state and leftover. output() must have been sent or taken
  /// before: it is invalid from then on.
  [[nodiscard]] Outcome finish();

  /// After kFailed. kNotAuthorized: the terms refused the server's identity, and it got
  /// bad_certificate. An alert of the server is kPeerConnectionClosed, with its name in the detail,
  /// and no_application_protocol is kNoApplicationProtocol.
  [[nodiscard]] const HandshakeFailure& failure() const noexcept { return engine_.failure(); }

 private:
  friend class ClientContext;

  // OpenSSL's callbacks; each finds its handshake by the engine's owner().
  static ClientHandshake& of(const SSL* ssl);
  static int on_verify(X509_STORE_CTX* store, void*);
  static int on_certificate_request(SSL* ssl, void*);
  static void on_extensions(void* handshake, std::span<const std::byte> message);
  /// Sets these in `context`.
  static void install_callbacks(SSL_CTX* context);

  void offer_name(std::string_view server_name);
  void offer_protocols(std::span<const std::string_view> protocols);
  void offer_session(std::shared_ptr<const ClientSession> session);
  bool judge_server(X509_STORE_CTX* store);
  bool choose_curve() const;
  Step complete();
  void take_facts();
  bool offered(std::string_view protocol) const;
  HandshakeFailure not_offered(std::string_view protocol) const;
  SSL* ssl() const noexcept { return engine_.ssl(); }

  std::shared_ptr<ClientContext> context_;
  std::function<std::optional<std::string>(const PeerTrust&)> refuse_;
  std::shared_ptr<const ClientSession> session_;  ///< to be offered; from then on: was offered
  std::vector<std::byte> protocols_;              ///< that were offered, each behind its length
  HandshakeEngine engine_;
  bool begun_ = false;
  bool complete_ = false;
  std::shared_ptr<const PeerTrust> trust_;  ///< set by the verify callback, or a resumed session's
  Outcome outcome_;
};

}  // namespace sallyport::ktls
