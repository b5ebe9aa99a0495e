#pragma once

#include <cstddef>
#include <string_view>

namespace sallyport::ktls {

// Lines of text files as editors of every system write them.

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  ///< U+FEFF in UTF-8

constexpr bool is_space(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/// The first line of `text` without its end, which is LF, CR LF, CR, or the end of the text.
constexpr std::string_view first_line(std::string_view text) noexcept {
  return text.substr(0, text.find_first_of("\r\n"));
}

/// The size of the line end that `text` begins with: 0 if it begins with none.
constexpr std::size_t line_end_size(std::string_view text) noexcept {
  if (text.starts_with("\r\n")) return 2;
  return text.starts_with('\n') || text.starts_with('\r') ? 1 : 0;
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
