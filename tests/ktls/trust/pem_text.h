#pragma once

#include <string>
#include <string_view>

namespace sallyport::ktls::testing {

inline const std::string kBom = "\xef\xbb\xbf";

/// `text` with `to` wherever it has `from`.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace sallyport::ktls::testing
