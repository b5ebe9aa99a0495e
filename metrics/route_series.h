// Which routes have series, and from when to when.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "metrics/cells.h"

namespace sallyport::metrics {

/// Shows a route from its configuration on, at zero, until an hour after it was removed and has no
/// connection. Its cells stay, since a shard may count in them again; so what they held when the
/// series left is taken off from then on, and the route begins at zero should it come back.
/// Connections of it that were closed are then shown as of route "": accepted = closed + open stays
/// true.
///
/// Not thread-safe.
class RouteSeries {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::hours kKept{1};

  /// The routes that are configured from now on, and no others.
  void configure(std::set<std::string> routes, TimePoint now);
  /// Makes of what was counted what is shown.
  void apply(std::vector<ShardSample>& samples, TimePoint now);

 private:
  using Key = std::tuple<unsigned, std::string, std::string>;  // shard, listener, route

  // Every shard has every listener, and what is shown is their sum: one sample is enough.
  void add_configured(ListenerSample& listener) const;
  void forget_removed(const std::vector<ShardSample>& samples, TimePoint now);
  void take_off_forgotten(unsigned shard, ListenerSample& listener) const;

  std::set<std::string> configured_;
  std::map<std::string, TimePoint> removed_;  // with series still
  std::map<Key, RouteSample> forgotten_;      // what the cells held then
};

}  // namespace sallyport::metrics
