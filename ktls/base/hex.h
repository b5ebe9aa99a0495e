#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sallyport::ktls {

// Hexadecimal text: two digits a byte, the high four bits first, nothing between.

enum class HexCase : std::uint8_t { kLower, kUpper };

std::string encode_hex(std::span<const std::byte> bytes, HexCase digits = HexCase::kLower);
inline std::string encode_hex(std::span<const std::uint8_t> bytes,
                              HexCase digits = HexCase::kLower) {
  return encode_hex(std::as_bytes(bytes), digits);
}
/// Sixteen digits, lower case.
std::string encode_hex(std::uint64_t value);
/// The two digits of one byte, lower case, at the end of `text`.
void append_hex(std::string& text, std::byte byte);

/// 0 to 15, of either case; -1: no digit.
constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Fills `out`. False, with `out` in any state, unless `text` is two digits for each of its bytes
/// and nothing else. Leaves no copy of the bytes anywhere else.
[[nodiscard]] bool decode_hex(std::string_view text, std::span<std::byte> out) noexcept;

}  // namespace sallyport::ktls
