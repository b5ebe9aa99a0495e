#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport::metrics {

/// Bytes of the UTF-8 sequence at the front of `text`, 1 to 4 (RFC 3629); 0: there is none, because
/// `text` is empty, or begins with a byte of no sequence, a cut or overlong one, a surrogate or
/// something beyond U+10FFFF.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text) noexcept;

/// `text` with each byte that is not part of valid UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string valid_utf8(std::string_view text);

}  // namespace sallyport::metrics
