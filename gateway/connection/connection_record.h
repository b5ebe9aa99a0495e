// What is told of a connection at its end, and where to.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "gateway/connection/close_reason.h"

namespace sallyport::gateway {

/// What is known of a connection at its end. Empty strings and nullopt are what was never known: a
/// line of a refusal leaves those keys out, a line of a served connection shows them empty.
struct ConnectionRecord {
  std::chrono::system_clock::time_point time;  ///< of the end
  std::string id;
  std::string listener;
  std::string client;    ///< address and port
  std::string identity;  ///< "-" for a verified certificate without a usable name
  std::string sni;
  std::string alpn;
  std::string route;
  std::string backend;
  std::string tls;     ///< "TLSv1.3"
  std::string cipher;  ///< "TLS_AES_128_GCM_SHA256"
  std::string group;   ///< "X25519"
  std::optional<bool> resumed;
  std::string records;               ///< "kernel" or "userspace"
  std::uint64_t received_bytes = 0;  ///< application bytes from the client
  std::uint64_t sent_bytes = 0;      ///< application bytes to the client
  std::optional<std::chrono::nanoseconds> handshake;
  std::optional<std::chrono::nanoseconds> connect;
  std::chrono::nanoseconds duration{0};
  CloseReason reason = CloseReason::kInternalError;

  /// Refusals: of the certificate that was refused, where there was one.
  bool refused = false;
  std::string issuer;
  std::string serial;  ///< hexadecimal
  std::optional<std::chrono::system_clock::time_point> not_after;
  std::string detail;  ///< for people: what exactly was wrong
};

/// Takes the records of connections that have ended. Implemented by the access log.
class ConnectionLog {
 public:
  virtual ~ConnectionLog() = default;
  /// Called on any shard's thread; must not block.
  virtual void write(ConnectionRecord record) = 0;

 protected:
  ConnectionLog() = default;
  ConnectionLog(const ConnectionLog&) = default;
  ConnectionLog& operator=(const ConnectionLog&) = default;
};

}  // namespace sallyport::gateway
