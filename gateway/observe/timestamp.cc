#include "gateway/observe/timestamp.h"

#include <array>
#include <cstdio>

namespace sallyport::gateway {
namespace {

std::string rfc3339(std::chrono::sys_seconds whole, std::chrono::milliseconds rest) {
  const auto day = std::chrono::floor<std::chrono::days>(whole);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(whole - day);
  std::array<char, 64> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                    static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                    static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                    static_cast<int>(time.minutes().count()),
                    static_cast<int>(time.seconds().count()), static_cast<int>(rest.count()));
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  return rfc3339(whole, std::chrono::floor<std::chrono::milliseconds>(time - whole));
}

std::string rfc3339(std::chrono::sys_seconds time) {
  return rfc3339(time, std::chrono::milliseconds(0));
}

}  // namespace sallyport::gateway
