#include "gateway/observe/timestamp.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace sallyport::gateway {

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(time - whole).count();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(whole);
  std::tm utc{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "";
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::array<char, 16> tail{};
  std::snprintf(tail.data(), tail.size(), ".%03dZ", static_cast<int>(millis));
  return std::string(text.data(), length) + tail.data();
}

}  // namespace sallyport::gateway
