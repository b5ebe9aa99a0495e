// What is known of a connection, as plain values: for its log line and for /connections.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/connection/close_reason.h"
#include "ktls/trust/judgement.h"
#include "ktls/trust/presented_certificate.h"

namespace sallyport::gateway {

/// A copy, independent of the connection and its shard. Empty strings and nullopt are what is not
/// known, or not known yet.
struct ConnectionFacts {
  std::string id;
  std::string listener;
  bool egress = false;     ///< its client is an application of this machine
  std::string local_user;  ///< that one, "UID/PID"; empty: not known
  std::string client;      ///< address and port; the true one, where a proxy in front says it
  std::string proxy;       ///< address and port of that proxy
  std::string identity;    ///< "-" for a verified certificate without a usable name
  std::string sni;
  std::string alpn;
  std::string route;
  std::string backend;                  ///< the target, as the discovery file writes it
  std::string backend_address;          ///< address and port, where the target may be a name
  std::string backend_identity;         ///< that it has proven; empty: in plaintext
  std::optional<bool> backend_resumed;  ///< likewise
  std::string local_address;  ///< of the gateway, towards the backend; empty for a unix socket
  std::string tls;            ///< "TLSv1.3"
  std::string cipher;         ///< "TLS_AES_128_GCM_SHA256"
  std::string group;          ///< "X25519"
  std::optional<bool> resumed;
  std::string records;               ///< "kernel" or "userspace"
  std::uint64_t received_bytes = 0;  ///< application bytes from the client
  std::uint64_t sent_bytes = 0;      ///< application bytes to the client
  std::optional<std::chrono::nanoseconds> handshake;
  std::optional<std::chrono::nanoseconds> connect;
  std::chrono::nanoseconds duration{0};              ///< since it was accepted
  std::chrono::system_clock::time_point time;        ///< at which these facts were so
  CloseReason reason = CloseReason::kInternalError;  ///< once it has ended
  std::string_view kept;  ///< the cause for which it would have ended, but for --keep-live

  /// Of the client's certificate; where another one was refused, a CA's of its chain, of that one.
  /// Empty in the line of a connection that was relayed.
  std::string issuer;
  std::string serial;  ///< hexadecimal
  std::optional<std::chrono::sys_seconds> not_after;

  /// Refusals only.
  bool refused = false;
  std::string detail;                     ///< for people: what exactly was wrong
  std::vector<std::string> alpn_offered;  ///< the first of them
  std::shared_ptr<const ktls::PresentedCertificate> presented;  ///< null: none
  ktls::JudgementSteps steps;  ///< of the client's judgement, as far as it came to one

  /// When it was accepted.
  [[nodiscard]] std::chrono::system_clock::time_point since() const {
    return time - std::chrono::duration_cast<std::chrono::system_clock::duration>(duration);
  }
};

/// Takes the facts of connections that have ended. Implemented by the access log.
class ConnectionLog {
 public:
  virtual ~ConnectionLog() = default;
  /// Called on any shard's thread; must not block.
  virtual void write(ConnectionFacts facts) = 0;

 protected:
  ConnectionLog() = default;
  ConnectionLog(const ConnectionLog&) = default;
  ConnectionLog& operator=(const ConnectionLog&) = default;
};

}  // namespace sallyport::gateway
