#pragma once

#include <chrono>
#include <cstdlib>

namespace sallyport::test {

/// For how long a storm blows: `usual`, or SALLYPORT_STORM_SECONDS where someone has the time.
inline std::chrono::seconds storm_length(std::chrono::seconds usual) {
  const char* const seconds = std::getenv("SALLYPORT_STORM_SECONDS");
  return seconds == nullptr ? usual : std::chrono::seconds(std::atoi(seconds));
}

}  // namespace sallyport::test
