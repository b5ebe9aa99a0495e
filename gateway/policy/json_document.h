#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/policy/config_error.h"

namespace sallyport::gateway {

struct JsonMember;
/// A number. Our files have whole ones at most.
struct JsonNumber {
  std::optional<std::int64_t> whole;  ///< none: it has a fraction or an exponent, or is too large
};

/// One value of a parsed file, with the line on which it starts. A tree of plain values.
struct JsonValue {
  using Array = std::vector<JsonValue>;
  using Object = std::vector<JsonMember>;  ///< in file order, keys unique

  std::variant<std::monostate /*null*/, bool, JsonNumber, std::string, Array, Object> data;
  unsigned line = 1;

  bool is_null() const { return std::holds_alternative<std::monostate>(data); }
  const bool* boolean() const { return std::get_if<bool>(&data); }
  const JsonNumber* number() const { return std::get_if<JsonNumber>(&data); }
  const std::string* string() const { return std::get_if<std::string>(&data); }
  const Array* array() const { return std::get_if<Array>(&data); }
  const Object* object() const { return std::get_if<Object>(&data); }
  const JsonValue* find(std::string_view key) const;  ///< nullptr: no object, or no such key
  std::string_view kind() const;                      ///< "a string", for errors
};

struct JsonMember {
  std::string key;
  unsigned line = 1;  ///< of the key
  JsonValue value;
};

struct JsonLimits {
  std::size_t bytes = std::size_t{64} << 20;
  std::size_t depth = 16;  ///< nested arrays and objects; bounds the stack, too
};

/// Reads a whole file. Refuses, with the line: what is not JSON (RFC 8259), trailing text, bytes
/// that are not UTF-8, a key that occurs twice in one object, and what exceeds the limits. Throws
/// nothing but bad_alloc. `file` is only for the errors.
std::expected<JsonValue, ConfigError> parse_json(std::string_view text, std::string_view file,
                                                 const JsonLimits& limits = {});

}  // namespace sallyport::gateway
