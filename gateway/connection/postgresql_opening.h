// What a PostgreSQL client says in plaintext before TLS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "gateway/backends/postgresql_starttls.h"

namespace sallyport::gateway {

/// Reads it, in pieces of any size: a GSSENCRequest or none, then SSLRequest; or TLS at once. All
/// else is refused: a client that would go on in plaintext, or that sends something behind a
/// request before it has the answer, which somebody on the way may have put in (CVE-2021-23214).
class PostgresqlOpening {
 public:
  enum class Next : std::uint8_t {
    kReceive,    ///< more is needed
    kAnswerNo,   ///< to a GSSENCRequest, then receive
    kAnswerYes,  ///< to SSLRequest; then comes TLS, of which nothing may be there before
    kDirectTls,  ///< no request: the bytes just given, of which none were taken, are TLS
    kRefused,    ///< error() says why
  };

  /// What `bytes` ask for. Not after kAnswerYes, kDirectTls or kRefused.
  [[nodiscard]] Next add(std::span<const std::byte> bytes);

  /// Whether there is no byte of a request that is not answered.
  [[nodiscard]] bool at_beginning() const noexcept { return size_ == 0; }
  /// Once kRefused; of static storage.
  [[nodiscard]] std::string_view error() const noexcept { return error_; }

 private:
  [[nodiscard]] Next answer();
  [[nodiscard]] Next refuse(std::string_view why);

  std::array<std::byte, kPostgresqlRequestSize> request_{};
  std::size_t size_ = 0;  // of what has come of it
  bool refused_gssenc_ = false;
  std::string_view error_;
};

}  // namespace sallyport::gateway
