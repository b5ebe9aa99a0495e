// PostgreSQL's way from plaintext to TLS, towards a server: "SSL Session Encryption" and "Message
// Formats" in PostgreSQL's documentation of its protocol.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>

#include "iouring/socket.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// The requests that may come before a session: their whole length, and what is in the place of the
/// protocol's version.
inline constexpr std::size_t kPostgresqlRequestSize = 8;
inline constexpr std::uint32_t kSslRequestCode = 80877103, kGssencRequestCode = 80877104,
                               kCancelRequestCode = 80877102;

/// What a server answers to them: it goes on with TLS, or without.
inline constexpr std::byte kPostgresqlYes{'S'}, kPostgresqlNo{'N'};

/// The protocol in ALPN, for TLS without a request before it (since PostgreSQL 17).
inline constexpr char kPostgresqlAlpn[] = "postgresql";

struct StarttlsFailure {
  int sys_errno = 0;     ///< of the socket; 0: what the server did
  std::string why = {};  ///< that, behind its name: "answered SSLRequest with N"
};

/// SSLRequest, and its answer: TLS may begin. Nothing was sent on `server` before but a PROXY
/// header. Receives one byte and not more. What is there behind it before our ClientHello was put
/// in by somebody on the way (CVE-2021-23222): the caller looks for that, when it has one to send.
/// Waits as long as the server is silent. A server's error message is not taken for text that can
/// be shown, since nobody has proven to be that server (CVE-2024-10977).
[[nodiscard]] iouring::Task<std::expected<void, StarttlsFailure>> ask_postgresql_for_tls(
    iouring::Socket& server);

}  // namespace sallyport::gateway
