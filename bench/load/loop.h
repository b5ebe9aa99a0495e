// A one-thread epoll loop for the load programs. Everything is edge-triggered and registered once,
// so that a connection costs one epoll_ctl in its life.
#pragma once

#include <chrono>
#include <cstdint>

#include "bench/load/fd.h"

namespace sallyport::bench {

using Clock = std::chrono::steady_clock;

/// Something with a descriptor. `ready` is called for each edge; it must read and write until the
/// kernel says EAGAIN. It may close its own descriptor inside `ready`, never another's.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual void ready(uint32_t events) = 0;
};

class Loop {
 public:
  Loop();

  /// Registers for both directions. The object must outlive its descriptor.
  void watch(int descriptor, Watched& object);

  /// One wait of at most until `wake`, and one call of `ready` per descriptor that has news.
  void turn(Clock::time_point wake);

 private:
  Fd epoll_;
};

}  // namespace sallyport::bench
