#pragma once

#include <string>
#include <string_view>

namespace sallyport::ktls {

// ASCII, whatever the locale, which <cctype> asks: names on the wire are ASCII (RFC 4343).

constexpr bool is_ascii_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
/// 'A' to 'Z' in lower case; everything else as it is.
constexpr char ascii_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool is_ascii_letter(char c) noexcept {
  return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

inline std::string ascii_lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = ascii_lower(c);
  return result;
}

}  // namespace sallyport::ktls
