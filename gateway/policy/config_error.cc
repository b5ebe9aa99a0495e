#include "gateway/policy/config_error.h"

#include "ktls/base/hex.h"
#include "metrics/utf8.h"

namespace sallyport::gateway {

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    if (at >= limit) return result + "...";
    const std::size_t length = metrics::utf8_sequence(text.substr(at));
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

std::string ConfigError::place() const {
  std::string result = file;
  if (line > 0) result += (result.empty() ? "line " : ":") + std::to_string(line);
  if (!key.empty()) result += (result.empty() ? "" : ": ") + key;
  return result;
}

std::string ConfigError::to_string() const {
  const std::string where = place();
  return where.empty() ? what : where + ": " + what;
}

}  // namespace sallyport::gateway
