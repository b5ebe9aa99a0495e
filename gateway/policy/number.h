#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace sallyport::gateway {

/// The number that all of `text` is, in decimal (from_chars(): no blanks, no '+'; '-' only for
/// signed types). Nothing for any other text, nor for what a `Number` cannot hold.
template <class Number>
[[nodiscard]] std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace sallyport::gateway
