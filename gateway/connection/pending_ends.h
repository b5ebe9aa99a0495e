// Live connections that are to end, each at a time of its own.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "gateway/policy/live_cause.h"
#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

class LiveConnection;

/// Why and when.
struct PendingEnd {
  LiveCause cause{};
  iouring::TimePoint asks_at;  ///< from then on a quiet moment is looked for
  iouring::TimePoint ends_at;  ///< the latest
  bool asked = false;
};

/// Those of one shard; its thread only. A connection that ends by itself must be taken out.
class PendingEnds {
 public:
  /// Replaces what was pending for the connection.
  void set(LiveConnection& connection, const PendingEnd& end);
  /// Null: nothing is pending for it.
  [[nodiscard]] const PendingEnd* find(const LiveConnection& connection) const;
  void remove(const LiveConnection& connection);

  /// When something is to be done next, if anything is.
  [[nodiscard]] std::optional<iouring::TimePoint> next() const;
  /// The connection that something is to be done for by `now`, the one that waits longest; null:
  /// none. It stays pending.
  [[nodiscard]] LiveConnection* due(iouring::TimePoint now) const;

  [[nodiscard]] std::size_t size() const { return ends_.size(); }

 private:
  static iouring::TimePoint next_of(const PendingEnd& end) {
    return end.asked ? end.ends_at : end.asks_at;
  }

  // Not hashed: a table of 100,000 that grows holds the shard for milliseconds.
  std::map<const LiveConnection*, PendingEnd> ends_;
  std::set<std::pair<iouring::TimePoint, LiveConnection*>> by_time_;
};

}  // namespace sallyport::gateway
