// The PROXY header that a client's proxy sends before the client's first byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "iouring/address.h"

namespace sallyport::gateway {

/// The ends of the connection between the client and its proxy, as the proxy says.
struct ProxiedAddresses {
  iouring::SocketAddress source, destination;
  bool operator==(const ProxiedAddresses&) const = default;
};

/// Reads a header of version 1 or 2 (HAProxy's doc/proxy-protocol.txt) from bytes that come in
/// pieces of any size. Takes the two addresses from it and nothing else: TLVs are only checked for
/// their lengths, and a CRC32C for its value.
class ProxyHeaderReader {
 public:
  static constexpr std::size_t kMaxText = 107;     ///< of version 1, its CR and LF included
  static constexpr std::size_t kMaxBinary = 1024;  ///< of version 2

  enum class State : std::uint8_t {
    kPartial,  ///< more is needed
    kWhole,    ///< bytes behind the header are the client's
    kInvalid,  ///< error() says why
  };

  /// Takes what belongs to the header off the front of `bytes`, of which nothing is kept otherwise.
  State add(std::span<const std::byte>& bytes);

  [[nodiscard]] State state() const noexcept { return state_; }
  /// Once kWhole. Nothing: the socket's addresses are those of the client (LOCAL, UNKNOWN, families
  /// and protocols other than TCP over IP).
  [[nodiscard]] const std::optional<ProxiedAddresses>& addresses() const noexcept {
    return addresses_;
  }
  /// Once kInvalid; of static storage.
  [[nodiscard]] std::string_view error() const noexcept { return error_; }
  /// Of the header so far.
  [[nodiscard]] std::size_t size() const noexcept { return header_.size(); }

 private:
  void take(std::byte next);
  void take_text();
  void take_binary();
  void parse_line(std::string_view line);
  void check_tlvs(std::size_t from, bool discarded);
  void refuse(std::string_view why);

  std::vector<std::byte> header_;
  State state_ = State::kPartial;
  std::string_view error_;
  std::optional<ProxiedAddresses> addresses_;
};

/// Whether `bytes`, which are not empty, are the beginning of a header, as far as they go.
[[nodiscard]] bool begins_proxy_header(std::span<const std::byte> bytes) noexcept;

}  // namespace sallyport::gateway
