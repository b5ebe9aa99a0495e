#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace sallyport::ktls {

/// How many bytes this base64 (RFC 4648 4, padded, nothing between its digits) stands for. Looks at
/// length and padding only; nothing if the length is no multiple of four.
std::optional<std::size_t> base64_size(std::string_view text) noexcept;

/// Is this one of the 64 digits? Padding is none.
bool is_base64_digit(char c) noexcept;

/// Decodes into `out`, which has base64_size(text) bytes. False: a character that is no digit, or
/// not that size; `out` then holds a part.
[[nodiscard]] bool decode_base64(std::string_view text, std::span<std::byte> out) noexcept;

}  // namespace sallyport::ktls
