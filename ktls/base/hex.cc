#include "ktls/base/hex.h"

#include "ktls/base/big_endian.h"

namespace sallyport::ktls {
namespace {

void append(std::string& text, std::byte byte, std::string_view digits) {
  text += digits[std::to_integer<std::size_t>(byte >> 4)];
  text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
}

constexpr std::string_view kLowerDigits = "0123456789abcdef";
constexpr std::string_view kUpperDigits = "0123456789ABCDEF";

}  // namespace

std::string encode_hex(std::span<const std::byte> bytes, HexCase digits) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    append(text, byte, digits == HexCase::kLower ? kLowerDigits : kUpperDigits);
  }
  return text;
}

std::string encode_hex(std::uint64_t value) {
  return encode_hex(big_endian(value));
}

void append_hex(std::string& text, std::byte byte) {
  append(text, byte, kLowerDigits);
}

bool decode_hex(std::string_view text, std::span<std::byte> out) noexcept {
  if (text.size() != 2 * out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::byte>(high << 4 | low);
  }
  return true;
}

}  // namespace sallyport::ktls
