// The latest refusals of the process, for /refusals.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

#include "gateway/connection/connection_facts.h"

namespace sallyport::gateway {

/// Any thread. Filled by the access log's thread, so no shard waits for a reader of it; like the
/// log it misses what that has to drop.
class RecentRefusals {
 public:
  static constexpr std::size_t kKept = 256;

  /// Those that are no refusals are not kept.
  void add(ConnectionFacts facts);

  /// A JSON array, newest first.
  [[nodiscard]] std::string to_json() const;

 private:
  mutable std::mutex mutex_;
  std::deque<ConnectionFacts> latest_;  // oldest first
};

}  // namespace sallyport::gateway
