#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"

namespace sallyport::gateway {

/// Builds the tree of a document from the tokens of its reader, and refuses keys that are given
/// twice and what is nested too deep. Each call that returns false has set the error: stop then.
class JsonTree {
 public:
  using Scalar = std::variant<std::monostate, bool, JsonNumber, std::string>;

  JsonTree(std::string_view file, const JsonLimits& limits) : file_(file), limits_(limits) {}
  JsonTree(const JsonTree&) = delete;  // it points into itself
  JsonTree& operator=(const JsonTree&) = delete;

  void add(Scalar value, unsigned line);
  [[nodiscard]] bool open_array(unsigned line) { return open(JsonValue::Array{}, line); }
  [[nodiscard]] bool open_object(unsigned line) { return open(JsonValue::Object{}, line); }
  /// Of the member that comes next.
  void key(std::string name, unsigned line);
  void close_array() { open_.pop_back(); }
  [[nodiscard]] bool close_object();

  /// Sets the error, unless there is one. False.
  bool fail(unsigned line, std::string what);

  [[nodiscard]] bool failed() const { return error_.has_value(); }
  /// Once, when failed().
  [[nodiscard]] ConfigError take_error() { return *std::move(error_); }
  /// Once, when the document is whole.
  [[nodiscard]] JsonValue take() { return std::move(root_); }

 private:
  JsonValue& place(decltype(JsonValue::data) value, unsigned line);
  bool open(decltype(JsonValue::data) empty, unsigned line);
  [[nodiscard]] std::string path() const;

  std::string file_;
  JsonLimits limits_;
  JsonValue root_;
  std::vector<JsonValue*> open_;
  std::string pending_key_;
  unsigned pending_line_ = 1;
  std::optional<ConfigError> error_;
};

}  // namespace sallyport::gateway
