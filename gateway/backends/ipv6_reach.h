#pragma once

#include <atomic>
#include <cstdint>

#include "iouring/address.h"
#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// Whether this host reaches IPv6 addresses at all, remembered for all shards: where a connect
/// finds no route to one, IPv4 addresses come before all of them for a minute, and not every
/// endpoint has to find that out by itself. A connect to any of them that succeeds ends it. Any
/// thread; no lock.
class Ipv6Reach {
 public:
  using TimePoint = iouring::TimePoint;

  /// IPv6, and neither on this host (loopback, mapped IPv4) nor on a link of it: these need no
  /// route.
  [[nodiscard]] static bool concerns(const iouring::SocketAddress& address) noexcept;

  [[nodiscard]] bool avoided(TimePoint now) const noexcept {
    return now.time_since_epoch().count() < avoid_until_.load(std::memory_order_relaxed);
  }

  /// A connect failed with `error`. Within a minute of one that succeeded that tells of its address
  /// alone.
  void failed(TimePoint now, int error) noexcept;
  void succeeded(TimePoint now) noexcept;

 private:
  // Nanoseconds of TimePoint's clock.
  std::atomic<std::int64_t> avoid_until_{0};
  std::atomic<std::int64_t> trusted_until_{0};  // one has succeeded
};

}  // namespace sallyport::gateway
