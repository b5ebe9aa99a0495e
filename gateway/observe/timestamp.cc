#include "gateway/observe/timestamp.h"

#include "ktls/base/time_text.h"

namespace sallyport::gateway {
namespace {

std::string rfc3339(std::chrono::sys_seconds whole, std::chrono::milliseconds rest) {
  std::string text = ktls::time_text(whole);
  const std::string three_digits = std::to_string(1'000 + rest.count()).substr(1);
  text.insert(text.size() - 1, "." + three_digits);  // before the Z
  return text;
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
