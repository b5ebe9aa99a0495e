#include "gateway/observe/text_value.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>

#include "gateway/observe/json_text.h"

namespace sallyport::gateway {

namespace {

struct Character {
  char32_t code;
  std::size_t size;  // in bytes
};

// Of valid UTF-8, not empty. Exact up to three bytes: no control is longer.
Character first_character(std::string_view text) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  if (byte(0) < 0x80 || text.size() < 2) return {byte(0), 1};
  if (byte(0) < 0xE0 || text.size() < 3) return {(byte(0) & 0x1FU) << 6 | (byte(1) & 0x3FU), 2};
  if (byte(0) < 0xF0)
    return {(byte(0) & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU), 3};
  return {U'\uFFFD', std::min<std::size_t>(4, text.size())};
}

// Stands in a JSON string for itself.
bool is_plain(char c) {
  return c >= ' ' && c < '\x7F' && c != '"' && c != '\\';
}

bool is_control(char32_t code) {
  return (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string text_value(std::string_view value) {
  const bool unambiguous = !value.empty() && std::ranges::all_of(value, [](char c) {
    return is_plain(c) && c != ' ' && c != '=';
  });
  return unambiguous ? std::string(value) : json_string(value);
}

std::string json_string(std::string_view value) {
  if (!std::ranges::all_of(value, is_plain)) return json_text(value);
  std::string result;
  result.reserve(value.size() + 2);
  result += '"';
  result += value;
  result += '"';
  return result;
}

std::string terminal_text(std::string_view value) {
  const std::string quoted = json_string(value);
  return quoted.substr(1, quoted.size() - 2);
}

std::string escape_controls(std::string json) {
  const auto first =
      std::ranges::find_if(json, [](char c) { return static_cast<unsigned char>(c) >= 0x7F; });
  if (first == json.end()) return json;
  std::string result(json.begin(), first);
  for (std::string_view rest(first, json.end()); !rest.empty();) {
    const Character next = first_character(rest);
    if (is_control(next.code)) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(next.code));
      result += escape.data();
    } else {
      result += rest.substr(0, next.size);
    }
    rest.remove_prefix(next.size);
  }
  return result;
}

}  // namespace sallyport::gateway
