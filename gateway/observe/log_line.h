// A line of either log: `{"key":value,...}`, or `key=value ...`, with the same keys and values.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace sallyport::gateway {

enum class LogFormat { kJson, kText };

/// A line as it grows, without its end. No JSON object is built for it: that costs three times as
/// much, of each connection. Keys are words, which need no escape. Values of others may hold
/// anything: they cannot look like another key or line.
class LogLine {
 public:
  /// `before` stands in front of the line, as "<6>" (priority.h) does.
  explicit LogLine(LogFormat format, std::string_view before = {});

  void text(std::string_view key, std::string_view value);
  void boolean(std::string_view key, bool value) { word(key, value ? "true" : "false"); }
  void number(std::string_view key, std::uint64_t value) { word(key, std::to_string(value)); }
  void number(std::string_view key, std::int64_t value) { word(key, std::to_string(value)); }
  /// Null where it is none (NaN).
  void number(std::string_view key, double value);
  /// Null; `-` as text.
  void nothing(std::string_view key) { word(key, json_ ? "null" : "-"); }
  /// Three decimals: what is below a microsecond is noise.
  void milliseconds(std::string_view key, std::chrono::nanoseconds value);
  /// An array or object, as JSON text on one line.
  void structured(std::string_view key, std::string_view json);

  /// Once.
  [[nodiscard]] std::string finish();

 private:
  void begin(std::string_view key);
  void word(std::string_view key, std::string_view value);

  std::string line_;
  bool json_;
  bool empty_ = true;
};

}  // namespace sallyport::gateway
