#pragma once
// What is due at some time, taken together with what is due soon after.
#include <chrono>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "iouring/timer_wheel.h"

namespace sallyport::gateway {

/// Thousands of items, each due once: those that are due within `together` of each other are one
/// group, so that what waits for them wakes less often.
template <class T>
class DueGroups {
 public:
  /// Is in a group that is due at `due` or up to `together` (more than 0) later.
  void add(T item, iouring::TimePoint due, std::chrono::milliseconds together) {
    const auto into_a_group = due.time_since_epoch() % together;
    const auto rest = into_a_group.count() == 0 ? into_a_group : together - into_a_group;
    groups_[due + rest].push_back(std::move(item));
  }

  /// When the first group is due; nothing when there is none.
  [[nodiscard]] std::optional<iouring::TimePoint> next() const {
    if (groups_.empty()) return std::nullopt;
    return groups_.begin()->first;
  }

  /// Removes the first group that is due at `now` and returns it; empty when none is.
  [[nodiscard]] std::vector<T> take(iouring::TimePoint now) {
    if (groups_.empty() || groups_.begin()->first > now) return {};
    return std::move(groups_.extract(groups_.begin()).mapped());
  }

 private:
  std::map<iouring::TimePoint, std::vector<T>> groups_;
};

}  // namespace sallyport::gateway
