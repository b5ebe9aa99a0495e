#pragma once

#include <openssl/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "ktls/base/openssl_handles.h"
#include "ktls/handshake/client_session.h"
#include "ktls/handshake/context_settings.h"
#include "ktls/keys/suite.h"
#include "ktls/keys/traffic_secret.h"
#include "ktls/records/ticket_sink.h"
#include "ktls/trust/peer_trust.h"

namespace sallyport::ktls {

/// Makes sessions of the tickets of TLS 1.3 that come when the record layer has taken over. Only an
/// SSL knows the secret that a ticket's key is derived from (RFC 8446 4.6.1): the one of the
/// handshake is kept for that, its 40 to 60 KiB of memory with it. It never sees the connection's
/// records. A ticket is sealed for it again, as the next record of the server that it expects.
///
/// One thread at a time; a ticket takes some 30 µs of OpenSSL's work.
class TicketTaker final : public TicketSink {
 public:
  /// The largest ticket that is kept, in bytes; others are dropped. Tickets of servers that seal
  /// our certificate into them are of a few KiB.
  static constexpr std::size_t kMaxTicket = 8192;
  /// Of a connection; what follows is dropped.
  static constexpr unsigned kMaxTickets = 2;

  /// What is known of the connection, for its sessions.
  struct Facts {
    std::shared_ptr<const PeerTrust> trust;
    std::chrono::sys_seconds authenticated_at;
    CipherSuite suite = CipherSuite::kAes128GcmSha256;
    TrafficSecret server_secret;  ///< the server's first application traffic secret
  };

  /// Gets each session, during take(); may throw std::bad_alloc.
  using Keep = std::function<void(ClientSession)>;

  /// `ssl`: a client's that has finished its handshake and was given nothing behind it; it has no
  /// owner any more.
  TicketTaker(SslPtr ssl, Facts facts, WallClock clock, Keep keep) noexcept;

  /// A ticket that OpenSSL refuses, or for which memory is short, is the last one.
  bool take(std::span<const std::byte> body) noexcept override;

 private:
  bool give(std::span<const std::byte> body);

  SslPtr ssl_;
  Facts facts_;
  WallClock clock_;
  Keep keep_;
  std::uint64_t next_record_ = 0;  ///< that the SSL expects of the server
  unsigned left_ = kMaxTickets;
};

}  // namespace sallyport::ktls
