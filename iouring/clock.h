#pragma once

#include <cstdint>
#include <ctime>

namespace sallyport::iouring {

/// Nanoseconds on a clock of clock_gettime(2). `otherwise` where it cannot be read: the clock of a
/// thread or process ends with it.
inline std::int64_t clock_ns(clockid_t clock, std::int64_t otherwise = 0) noexcept {
  struct timespec time = {};
  if (::clock_gettime(clock, &time) != 0) return otherwise;
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace sallyport::iouring
