// What systemd is told of the process, by sd_notify(3). Nothing happens where it did not start us.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iouring/file_descriptor.h"

namespace sallyport::gateway {

/// Somebody is told.
[[nodiscard]] bool has_service_manager();

// Control thread.
void notify_ready();
void notify_reloading();
void notify_stopping();
/// The line of `systemctl status`.
void notify_status(const std::string& line);

/// Feeds systemd's watchdog each time that all shards have turned since the last time: where one
/// hangs, systemd kills the process. Any thread.
class Watchdog {
 public:
  /// Null where the unit has no WatchdogSec=, and where systemd cannot be reached (logged).
  [[nodiscard]] static std::unique_ptr<Watchdog> create(std::size_t shards);

  /// How often each shard is to say that it turns: a third of WatchdogSec=.
  [[nodiscard]] std::chrono::milliseconds interval() const { return interval_; }
  /// For each shard to call from its run loop. Does not wait: what systemd does not take is lost.
  void turned(std::size_t shard);
  /// A shard that has not turned for two intervals, if there is one.
  [[nodiscard]] std::optional<std::size_t> hanging() const;

 private:
  using Clock = std::chrono::steady_clock;
  Watchdog(iouring::FileDescriptor socket, std::chrono::milliseconds interval, std::size_t shards)
      : socket_(std::move(socket)), interval_(interval), turned_(shards), missing_(shards) {}

  iouring::FileDescriptor socket_;  // a datagram socket, connected to systemd's
  std::chrono::milliseconds interval_;
  // Since the last time that all had.
  std::vector<std::atomic<bool>> turned_;
  std::atomic<std::size_t> missing_;
  std::atomic<Clock::time_point> all_turned_at_ = Clock::now();
};

}  // namespace sallyport::gateway
