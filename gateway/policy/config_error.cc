#include "gateway/policy/config_error.h"

#include "ktls/base/hex.h"

namespace sallyport::gateway {
namespace {

// Length of the UTF-8 sequence at the front of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto between = [&](std::size_t i, unsigned low, unsigned high) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return between(1, 0x80, 0xBF) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;  // no surrogates
    return between(1, low, high) && between(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;  // nothing above U+10FFFF
    return between(1, low, high) && between(2, 0x80, 0xBF) && between(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    if (at >= limit) return result + "...";
    const std::size_t length = utf8_sequence(text.substr(at));
    const auto byte = static_cast<unsigned char>(text[at]);
    // U+0080 to U+009F are control characters, too.
    const bool c1 = length == 2 && byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0;
    if (length == 0 || byte < 0x20 || byte == 0x7F || c1) {
      result += "\\x";
      ktls::append_hex(result, std::byte{byte});
      at += 1;
    } else {
      result.append(text, at, length);
      at += length;
    }
  }
  return result;
}

std::string ConfigError::to_string() const {
  std::string result = file;
  if (line > 0) result += (result.empty() ? "line " : ":") + std::to_string(line);
  if (!key.empty()) result += (result.empty() ? "" : ": ") + key;
  return result + (result.empty() ? "" : ": ") + what;
}

}  // namespace sallyport::gateway
