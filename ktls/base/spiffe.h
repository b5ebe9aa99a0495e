#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "ktls/base/ascii.h"

namespace sallyport::ktls {

// What a SPIFFE ID is made of (SPIFFE-ID, sections 2.1 to 2.3): spiffe://trust-domain/segment/...

inline constexpr std::string_view kSpiffeScheme = "spiffe://";
inline constexpr std::size_t kMaxSpiffeIdBytes = 2048;  ///< of the whole ID
inline constexpr std::size_t kMaxTrustDomainBytes = 255;

/// Whether a trust domain or a path segment may hold this character. A trust domain is lower case:
/// the caller folds it.
constexpr bool is_spiffe_char(char c) noexcept {
  return is_ascii_letter(c) || is_ascii_digit(c) || c == '.' || c == '-' || c == '_';
}
/// Whether all of `text` are such characters; of the empty text they are.
constexpr bool is_spiffe_text(std::string_view text) noexcept {
  return std::ranges::all_of(text, is_spiffe_char);
}

/// One segment of a path may neither be empty nor lead elsewhere.
constexpr bool is_dot_segment(std::string_view segment) noexcept {
  return segment == "." || segment == "..";
}

}  // namespace sallyport::ktls
