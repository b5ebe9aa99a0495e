#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {

/// What a ClientHello says that is decided on before it is answered.
struct ClientHello {
  std::string_view sni;  ///< host_name as it came: any case, any bytes; empty: none
  std::span<const std::string_view> alpn;  ///< the client's offer in its order; empty: none
  /// A ticket is offered (RFC 8446 4.2.11); whether it is good is not known yet.
  bool offers_resumption = false;
};

/// Whether a handshake has something to do for `bytes`, from the first of a record on: a record is
/// whole, or will never be one.
bool holds_record(std::span<const std::byte> bytes);

/// The first bytes of a client, until OpenSSL can judge them. The fragments of a ClientHello that
/// comes in many records (RFC 8446 5.1) are joined to one record as they arrive: a record of one
/// byte costs its receiver six bytes of memory, and OpenSSL a call.
class ClientHelloFragments {
 public:
  /// Adds what was received. True once the ClientHello is whole, or will never be one of at most
  /// kMaxClientHello bytes.
  bool add(std::span<const std::byte> received);

  /// What came, the fragments joined. Never more than two records while add() is false.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  [[nodiscard]] std::size_t fragment_at(std::size_t position) const;
  [[nodiscard]] std::size_t message_size() const;

  std::vector<std::byte> bytes_;
  std::size_t joined_ = 0;  ///< bytes of the first record, header included
};

/// Of Go 1.27 with ML-KEM and ML-DSA: 1.5 KiB. This fits into one record; beyond it OpenSSL is left
/// to wait for the rest.
inline constexpr std::size_t kMaxClientHello = std::size_t{16} << 10;

/// Body of the server_name extension (RFC 6066 3) to its host_name, as it came. Nothing if it is
/// malformed: not exactly one host_name, empty, longer than 255 bytes, or with a NUL in it.
std::optional<std::string_view> parse_server_name(std::span<const std::byte> body);

/// Body of the ALPN extension (RFC 7301 3.1) to its protocols, which lie in `body`. Nothing if it
/// is malformed: an empty list, an empty name, a rest.
std::optional<std::vector<std::string_view>> parse_alpn(std::span<const std::byte> body);

/// Whether the body of a ClientHello's supported_versions (RFC 8446 4.2.1) names `version`, such as
/// 0x0304. One that is malformed names none.
bool names_version(std::span<const std::byte> body, std::uint16_t version);

}  // namespace sallyport::ktls
