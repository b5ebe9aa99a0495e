#include "gateway/observe/log_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "gateway/observe/text_value.h"

namespace sallyport::gateway {
namespace {

constexpr std::size_t kUsualLine = 1024;

}  // namespace

LogLine::LogLine(LogFormat format, std::string_view before) : json_(format == LogFormat::kJson) {
  line_.reserve(kUsualLine);
  line_ += before;
  if (json_) line_ += '{';
}

void LogLine::text(std::string_view key, std::string_view value) {
  begin(key);
  line_ += json_ ? json_string(value) : text_value(value);
}

void LogLine::number(std::string_view key, double value) {
  if (!std::isfinite(value)) return nothing(key);
  std::array<char, 32> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  word(key, std::string_view(digits.data(), written.ptr));
}

void LogLine::milliseconds(std::string_view key, std::chrono::nanoseconds value) {
  const auto microseconds =
      std::max<std::int64_t>(std::chrono::round<std::chrono::microseconds>(value).count(), 0);
  const std::string fraction = std::to_string(1000 + microseconds % 1000);
  word(key, std::to_string(microseconds / 1000) + '.' + fraction.substr(1));
}

void LogLine::structured(std::string_view key, std::string_view json) {
  word(key, json_ ? std::string(json) : json_string(json));
}

std::string LogLine::finish() {
  if (json_) line_ += '}';
  return std::move(line_);
}

void LogLine::begin(std::string_view key) {
  if (!std::exchange(empty_, false)) line_ += json_ ? ',' : ' ';
  if (json_) line_ += '"';
  line_ += key;
  line_ += json_ ? "\":" : "=";
}

void LogLine::word(std::string_view key, std::string_view value) {
  begin(key);
  line_ += value;
}

}  // namespace sallyport::gateway
