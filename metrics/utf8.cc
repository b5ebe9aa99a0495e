#include "metrics/utf8.h"

namespace sallyport::metrics {

std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto between = [&](std::size_t i, unsigned low, unsigned high) {
    return i < text.size() && static_cast<unsigned char>(text[i]) >= low &&
           static_cast<unsigned char>(text[i]) <= high;
  };
  if (between(0, 0x00, 0x7F)) return 1;
  if (between(0, 0xC2, 0xDF)) return between(1, 0x80, 0xBF) ? 2 : 0;
  if (between(0, 0xE0, 0xEF)) {
    const unsigned low = between(0, 0xE0, 0xE0) ? 0xA0 : 0x80;   // nothing overlong
    const unsigned high = between(0, 0xED, 0xED) ? 0x9F : 0xBF;  // no surrogates
    return between(1, low, high) && between(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (between(0, 0xF0, 0xF4)) {
    const unsigned low = between(0, 0xF0, 0xF0) ? 0x90 : 0x80;   // nothing overlong
    const unsigned high = between(0, 0xF4, 0xF4) ? 0x8F : 0xBF;  // nothing above U+10FFFF
    return between(1, low, high) && between(2, 0x80, 0xBF) && between(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) {
      result += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      result += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return result;
}

}  // namespace sallyport::metrics
