#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {

/// The parts of a ClientHello that the route is chosen by, before it is answered.
struct ClientHello {
  std::string_view sni;  ///< host_name as received: any case, any bytes; empty: none
  std::span<const std::string_view> alpn;  ///< the client's offer in its order; empty: none
};

/// Whether a handshake can go on with `bytes`, which begin with a record: the record is whole, or
/// it can never be one.
bool holds_record(std::span<const std::byte> bytes);

/// The largest ClientHello that is accepted, with its header. It fits into one record. That of Go
/// 1.27 with ML-KEM and ML-DSA has 1.5 KiB; OpenSSL would take 128 KiB, and take memory for them as
/// soon as they are announced.
inline constexpr std::size_t kMaxClientHello = std::size_t{16} << 10;

/// The size of the ClientHello that `message` begins with, its header included (RFC 8446 4).
/// Nothing for another message, and while the header is not whole.
std::optional<std::size_t> client_hello_size(std::span<const std::byte> message);

/// The first bytes of a client, until they can be given to OpenSSL. The fragments of a ClientHello
/// that comes in many records (RFC 8446 5.1) are joined to one record as they arrive: kept apart, a
/// record of one byte would take six bytes of memory, and a call of OpenSSL.
class ClientHelloFragments {
 public:
  /// Adds what was received. True once the ClientHello is whole, or will never be one of at most
  /// kMaxClientHello bytes.
  bool add(std::span<const std::byte> received);

  /// The received bytes, fragments joined. Never more than two records while add() is false.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// Whether they are a ClientHello that offers a ticket (RFC 8446 4.2.11), not validated yet. A
  /// guess, for the order of work; OpenSSL alone judges the ClientHello.
  [[nodiscard]] bool offers_resumption() const;
  /// The bytes of memory behind it.
  [[nodiscard]] std::size_t memory() const noexcept { return bytes_.capacity(); }

 private:
  [[nodiscard]] std::size_t fragment_at(std::size_t position) const;
  [[nodiscard]] std::size_t message_size() const;

  std::vector<std::byte> bytes_;
  std::size_t joined_ = 0;  ///< bytes of the first record, header included
};

/// The host_name in the body of a server_name extension (RFC 6066 3), as received. Nothing if it is
/// malformed: not exactly one host_name, empty, longer than 255 bytes, or with a NUL in it.
std::optional<std::string_view> parse_server_name(std::span<const std::byte> body);

/// The protocols in the body of an ALPN extension (RFC 7301 3.1); views into `body`. Nothing if it
/// is malformed: an empty list, an empty name, bytes behind the list.
std::optional<std::vector<std::string_view>> parse_alpn(std::span<const std::byte> body);

/// The bytes that the body of a max_fragment_length extension (RFC 6066 4) allows a record. Nothing
/// if it is malformed.
std::optional<std::uint16_t> parse_max_fragment_length(std::span<const std::byte> body);

/// Whether the body of a ClientHello's supported_versions (RFC 8446 4.2.1) names `version`, such as
/// 0x0304. One that is malformed names none.
bool names_version(std::span<const std::byte> body, std::uint16_t version);

/// Whether the body of an extension that is a list of code points, such as signature_algorithms and
/// supported_groups (RFC 8446 4.2.3, 4.2.7), has `wanted`. One that is malformed has none.
bool lists_code_point(std::span<const std::byte> body, std::uint16_t wanted);

}  // namespace sallyport::ktls
