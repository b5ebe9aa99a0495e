#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace sallyport::gateway {

/// The address of a backend as the discovery file writes it. A value.
struct Target {
  enum class Kind { kIpv4, kIpv6, kName, kUnix };

  Kind kind = Kind::kName;
  std::string host;        ///< address or name in canonical form, or the path of a unix socket
  std::uint16_t port = 0;  ///< 1-65535; 0 for a unix socket

  /// "10.0.0.7:80", "[::1]:80", "name:80", "unix:/path". The error is one sentence. Names are host
  /// names (underscores allowed, a trailing dot dropped), paths absolute and at most 107 bytes.
  static std::expected<Target, std::string> parse(std::string_view text);

  /// Equal exactly for targets that are the same place: "[::0]:80" and "[::]:80".
  std::string canonical() const;

  bool operator==(const Target&) const = default;
};

}  // namespace sallyport::gateway
