#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::ktls {

/// Whether a handshake has something to do for `bytes`, from the first of a record on: a record is
/// whole, or will never be one.
bool holds_record(std::span<const std::byte> bytes);

/// Whether `bytes`, the first that a client sent, begin with a record that holds a whole
/// ClientHello which offers to resume (RFC 8446 4.2.11: pre_shared_key, the last of its
/// extensions). Nothing follows from it but an order of service: whether a ticket is good OpenSSL
/// says.
bool offers_resumption(std::span<const std::byte> bytes);

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
