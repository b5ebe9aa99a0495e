// Messages of protocol buffers in their JSON form (proto3, ProtoJSON).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// A field of a message, and what becomes of it.
struct ProtoField {
  enum class Use : std::uint8_t {
    kRead,
    kIgnored,  ///< means nothing here
    kRefused,  ///< means something that is not done here: an error, unless it has its default value
  };
  std::string_view name;  ///< as in the .proto file
  Use use = Use::kRead;
};

/// A value in the document, and the path to it for errors.
struct ProtoValue {
  const JsonValue* value = nullptr;  ///< never null
  std::string key;
};

/// A message whose fields are known. Points into the document.
class ProtoMessage {
 public:
  /// The error, in `file`: it is no object, has an unknown field or one that is refused, or one in
  /// both spellings.
  [[nodiscard]] static std::expected<ProtoMessage, ConfigError> read(
      const ProtoValue& message, std::span<const ProtoField> fields, std::string_view file);

  /// The field of this name, unless it is absent or null.
  [[nodiscard]] std::optional<ProtoValue> find(std::string_view name) const;

 private:
  explicit ProtoMessage(std::string key) : key_(std::move(key)) {}

  struct Known {
    std::string_view name;
    const JsonMember* member;
  };
  std::string key_;
  std::vector<Known> known_;
};

/// The name of a field as in the .proto file, of that or of its lowerCamelCase.
[[nodiscard]] std::string proto_name(std::string_view key);

/// "key.field", for errors.
[[nodiscard]] std::string join_key(const std::string& key, const std::string& field);

/// A number, which may be written as a text. Nothing: it is none, or not a whole one.
[[nodiscard]] std::optional<std::int64_t> proto_number(const JsonValue& value);

/// The index in `names`, of a name or a number. Nothing: it is neither.
[[nodiscard]] std::optional<std::size_t> proto_enum(const JsonValue& value,
                                                    std::span<const std::string_view> names);

}  // namespace sallyport::gateway
