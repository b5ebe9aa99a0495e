// How many connections are kept ready at an endpoint, and when the next one is made.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// The part of `count`, which is meant for the whole process, that this shard has. What cannot be
/// divided goes to shards that follow from `hash`, the endpoint's: to others for other endpoints.
[[nodiscard]] constexpr std::uint32_t part_of_shard(std::uint32_t count, std::uint64_t hash,
                                                    unsigned shard, unsigned shards) {
  const std::uint64_t turn = (shard + hash % shards) % shards;
  return count / shards + (turn < count % shards ? 1 : 0);
}

/// Follows demand between two bounds: a client that finds none raises it by one, a connection that
/// nobody needs for as long as it may wait lowers it by one. Pure.
class WarmLevel {
 public:
  WarmLevel(std::uint32_t min, std::uint32_t max) : min_(min), max_(max), wanted_(min) {}

  [[nodiscard]] std::uint32_t wanted() const { return wanted_; }
  void missed() { wanted_ = std::min(wanted_ + 1, max_); }
  void unused() { wanted_ = std::max(wanted_, min_ + 1) - 1; }

 private:
  std::uint32_t min_, max_, wanted_;
};

/// When the next connection is made: behind one that succeeded soon, so that a burst of clients is
/// not doubled; behind a client that has asked as soon, so that what it sends next does not wait,
/// here or at the backend, for a handshake made for others; behind those that fail, or that the
/// backend ends at once, later and later. Pure.
class WarmPace {
 public:
  using TimePoint = iouring::TimePoint;
  static constexpr std::chrono::milliseconds kBetween{10};
  static constexpr std::chrono::milliseconds kFirstPause{1'000};
  static constexpr std::chrono::milliseconds kLongestPause{30'000};
  /// What the backend ended within this time of its beginning has failed.
  static constexpr std::chrono::milliseconds kSoon{1'000};

  [[nodiscard]] TimePoint next() const { return next_; }
  void made(TimePoint now) { next_ = now + kBetween; }
  void asked(TimePoint now) { next_ = std::max(next_, now + kBetween); }
  void failed(TimePoint now) {
    next_ = now + pause_;
    pause_ = std::min(2 * pause_, kLongestPause);
  }
  /// The backend ended one that nobody had used, after so long.
  void lost(TimePoint now, std::chrono::nanoseconds lasted) {
    if (lasted >= kSoon) pause_ = kFirstPause;
    failed(now);
  }
  /// One was of use, or lasted as long as it should.
  void lasted() { pause_ = kFirstPause; }

 private:
  TimePoint next_{};
  std::chrono::milliseconds pause_ = kFirstPause;
};

}  // namespace sallyport::gateway
