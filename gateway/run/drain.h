// The end of the process.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string_view>
#include <utility>

#include "gateway/run/control_loop.h"
#include "gateway/run/shard_set.h"
#include "iouring/task.h"

namespace sallyport::gateway {

/// Stops the shards, and the control loop with the last of them. Control thread only, except for
/// begun().
class Drain {
 public:
  /// `loop` and `shards` outlive it. `delay` is --drain-delay: not ready, but still accepting.
  /// `on_begun` is called once, when it begins.
  Drain(ControlLoop& loop, ShardSet& shards, std::chrono::milliseconds delay,
        std::function<void()> on_begun)
      : loop_(loop),
        shards_(shards),
        delay_(delay),
        on_begun_(std::move(on_begun)),
        shards_alive_(shards.size()) {}

  /// Drains the shards after the delay. False if that had begun before.
  bool begin();
  /// Since begin(); zero before it.
  [[nodiscard]] std::chrono::nanoseconds age() const;
  /// Ends all connections now.
  void end_at_once();
  /// One more shard has ended. If draining had not begun, it failed, and the others are drained.
  void shard_ended();

  /// Any thread: the gateway is not ready any more.
  [[nodiscard]] bool begun() const { return begun_; }
  /// A shard ended by itself.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  bool first();
  iouring::Task<void> drain_after_delay();

  ControlLoop& loop_;
  ShardSet& shards_;
  std::chrono::milliseconds delay_;
  std::function<void()> on_begun_;
  std::size_t shards_alive_;
  std::atomic<bool> begun_ = false;
  iouring::TimePoint begun_at_;
  bool failed_ = false;
};

}  // namespace sallyport::gateway
