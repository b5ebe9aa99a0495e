// What the readers of the policy file's parts have in common.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Makes errors that name file, line and key, and checks kinds of values.
class JsonReader {
 public:
  using Outcome = std::expected<void, ConfigError>;

  explicit JsonReader(std::string_view file) : file_(file) {}

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::unexpected<ConfigError> refuse(unsigned line, std::string key,
                                                    std::string what) const {
    return std::unexpected(ConfigError{file_, line, std::move(key), std::move(what)});
  }
  /// `value` is a non-empty array of strings.
  [[nodiscard]] Outcome check_strings(const JsonValue& value, const std::string& key) const;
  /// `value` is a non-empty string.
  [[nodiscard]] Outcome check_text(const JsonValue& value, const std::string& key) const;
  [[nodiscard]] Outcome check_object(const JsonValue& value, const std::string& key) const;

 private:
  std::string file_;
};

/// "list[index]"
[[nodiscard]] std::string item_key(const std::string& list, std::size_t index);

}  // namespace sallyport::gateway
