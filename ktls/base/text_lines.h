#pragma once

#include <cstddef>
#include <string_view>

namespace sallyport::ktls {

// Lines of text files as editors of every system write them.

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  ///< U+FEFF in UTF-8

constexpr bool is_space(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/// What ends the lines of `text`: LF, or CR in a text without any LF. A CR before LF is white space
/// at the end of its line, however many there are (CR CR LF: converted twice). Any other CR in a
/// text with LF ends no line, as for OpenSSL and for editors.
constexpr char line_end(std::string_view text) noexcept {
  return text.contains('\n') ? '\n' : '\r';
}

/// The first line of `text`, without its end.
constexpr std::string_view first_line(std::string_view text, char line_end) noexcept {
  return text.substr(0, text.find(line_end));
}

/// The first line of `text`, without its end; `text` then begins behind that.
constexpr std::string_view take_line(std::string_view& text, char line_end) noexcept {
  const std::string_view line = first_line(text, line_end);
  text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
  return line;
}

/// Without white space at both ends, nor byte order marks, which stand wherever files that begin
/// with one were joined.
constexpr std::string_view trim(std::string_view line) noexcept {
  for (;;) {
    if (!line.empty() && is_space(line.front())) {
      line.remove_prefix(1);
    } else if (line.starts_with(kByteOrderMark)) {
      line.remove_prefix(kByteOrderMark.size());
    } else if (!line.empty() && is_space(line.back())) {
      line.remove_suffix(1);
    } else if (line.ends_with(kByteOrderMark)) {
      line.remove_suffix(kByteOrderMark.size());
    } else {
      return line;
    }
  }
}

}  // namespace sallyport::ktls
