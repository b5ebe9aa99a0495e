#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/context_settings.h"
#include "ktls/handshake/curve_certificates.h"
#include "ktls/trust/chain_cache.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/peer_trust.h"
#include "ktls/trust/tickets.h"

namespace sallyport::ktls {

/// Credentials::load(), and a trial: OpenSSL may refuse keys, groups or suites that load() accepts,
/// and such credentials must not reach a shard. Blocks on file IO.
std::expected<std::shared_ptr<const Credentials>, CredentialsError> load_usable_credentials(
    const CredentialFiles& files, HandshakeSettings settings = {},
    const Credentials* of_same_trust = nullptr);

/// Certificates that a client is refused for, and the alert that it gets.
struct RefusedCertificates {
  HandshakeFailure failure;
  AlertDescription alert{};
};

/// One shard's SSL_CTX for one generation of credentials. Certificates and keys are copies, so that
/// shards do not contend for reference counts and locks; only CRLs, which can be large, are shared.
///
/// create() may run on any thread. Afterwards the context belongs to its shard, whose handshakes
/// may be advanced by another thread at the same time: what they share is locked or immutable.
class ServerContext {
 public:
  /// What contexts that a handshake changes between have in common.
  struct Shared {
    OSSL_LIB_CTX* library = nullptr;  ///< of library_for()
    /// A context of the same shard, whose credentials have the same trust: its store is used, since
    /// one of each would take a copy of each CA. Null: there is none.
    const ServerContext* of_same_trust = nullptr;
  };

  /// `listener_set` names the listeners at which tickets are accepted: with equal text, secret and
  /// trust, contexts take each other's tickets.
  static std::expected<std::shared_ptr<ServerContext>, CredentialsError> create(
      std::shared_ptr<const Credentials> credentials, std::string_view listener_set,
      const Shared& shared, WallClock clock = wall_clock_now);
  /// For one context alone.
  static std::expected<std::shared_ptr<ServerContext>, CredentialsError> create(
      std::shared_ptr<const Credentials> credentials, std::string_view listener_set,
      WallClock clock = wall_clock_now);

  const Credentials& credentials() const noexcept { return *credentials_; }
  std::chrono::sys_seconds now() const { return clock_(); }

  /// What a handshake of TLS 1.3 finds of the certificates of a client, in DER, its own first: all
  /// but the proof that it has the key. Neither uses nor fills the cache of chains. At least one;
  /// throws std::bad_alloc. For --explain.
  std::expected<std::shared_ptr<const PeerTrust>, RefusedCertificates> verify_client(
      std::span<const std::vector<std::byte>> certificates) const;

 private:
  friend class ServerHandshake;

  ServerContext() = default;
  std::expected<void, CredentialsError> set_up();
  static std::expected<void, CredentialsError> try_out(
      std::shared_ptr<const Credentials> credentials, bool with_trust);
  std::expected<void, CredentialsError> judge_clients(const ServerContext* of_same_trust);
  friend std::expected<std::shared_ptr<const Credentials>, CredentialsError>
  load_usable_credentials(const CredentialFiles& files, HandshakeSettings settings,
                          const Credentials* of_same_trust);
  void set_tickets(std::string_view listener_set);
  /// Returns the bytes of memory that the names take in `ssl`, an upper bound.
  std::size_t set_ca_names(SSL* ssl, CaNames::Clients clients) const;
  /// A session is resumed under the same binding only.
  void bind_sessions(SSL* ssl, const Sha256& binding) const;

  std::shared_ptr<const Credentials> credentials_;
  WallClock clock_ = wall_clock_now;
  OSSL_LIB_CTX* library_ = nullptr;
  SslCtxPtr ctx_;
  CurveCertificates curves_;
  Sha256 session_context_{};
  std::vector<TicketSecrets::Key> ticket_keys_;  ///< sealing key first; empty: no tickets
  PeerTrustPool trusts_;                         ///< of the shard's thread
  ChainCache chains_;                            ///< verified under these credentials
  /// Every client is sent the same names of CAs; else those of its route, see CaNames.
  bool same_ca_names_ = true;
};

}  // namespace sallyport::ktls
