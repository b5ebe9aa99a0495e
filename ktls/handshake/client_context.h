#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/context_settings.h"
#include "ktls/handshake/curve_certificates.h"
#include "ktls/trust/chain_cache.h"
#include "ktls/trust/credentials.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// One shard's SSL_CTX for connecting to servers that one generation of credentials vouches for.
///
/// create() may run on any thread. Afterwards the context belongs to its shard, whose handshakes
/// may be advanced by another thread at the same time: what they share is locked or immutable.
class ClientContext {
 public:
  /// What a server that asks for our certificate gets.
  enum class Presents : std::uint8_t { kNothing, kCertificates };

  /// The settings of `credentials` count but for those of clients and tickets, and min_version,
  /// which ClientTerms has. They need no pairs of their own.
  static std::expected<std::shared_ptr<ClientContext>, CredentialsError> create(
      std::shared_ptr<const Credentials> credentials, Presents presents,
      WallClock clock = wall_clock_now);

  const Credentials& credentials() const noexcept { return *credentials_; }
  std::chrono::sys_seconds now() const { return clock_(); }
  /// SHA-256 over all certificates that servers may get of us; zeros: they get none.
  const Sha256& presented() const noexcept { return presented_; }

 private:
  friend class ClientHandshake;

  ClientContext() = default;

  std::shared_ptr<const Credentials> credentials_;
  WallClock clock_ = wall_clock_now;
  SslCtxPtr ctx_;
  CurveCertificates curves_;  ///< empty: kNothing
  Sha256 presented_{};
  PeerTrustPool trusts_;  ///< of the shard's thread
  ChainCache chains_;     ///< of servers, verified under these credentials
};

}  // namespace sallyport::ktls
