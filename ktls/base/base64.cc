#include "ktls/base/base64.h"

namespace sallyport::ktls {
namespace {

int base64_digit(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// The digits alone: up to two characters of padding are cut off.
std::string_view without_padding(std::string_view text) noexcept {
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<std::size_t> base64_size(std::string_view text) noexcept {
  if (text.size() % 4 != 0) return std::nullopt;
  return without_padding(text).size() * 3 / 4;
}

bool is_base64_digit(char c) noexcept {
  return base64_digit(c) >= 0;
}

bool decode_base64(std::string_view text, std::span<std::byte> out) noexcept {
  if (base64_size(text) != out.size()) return false;
  std::size_t filled = 0;
  unsigned bits = 0;
  unsigned count = 0;
  for (const char c : without_padding(text)) {
    const int digit = base64_digit(c);
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out[filled++] = static_cast<std::byte>(bits >> count);
  }
  return true;
}

}  // namespace sallyport::ktls
