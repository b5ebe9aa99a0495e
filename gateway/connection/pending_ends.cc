#include "gateway/connection/pending_ends.h"

namespace sallyport::gateway {

void PendingEnds::set(LiveConnection& connection, const PendingEnd& end) {
  remove(connection);
  ends_.emplace(&connection, end);
  by_time_.emplace(next_of(end), &connection);
}

const PendingEnd* PendingEnds::find(const LiveConnection& connection) const {
  const auto found = ends_.find(&connection);
  return found == ends_.end() ? nullptr : &found->second;
}

void PendingEnds::remove(const LiveConnection& connection) {
  const auto found = ends_.find(&connection);
  if (found == ends_.end()) return;
  by_time_.erase({next_of(found->second), const_cast<LiveConnection*>(&connection)});
  ends_.erase(found);
}

std::optional<iouring::TimePoint> PendingEnds::next() const {
  if (by_time_.empty()) return std::nullopt;
  return by_time_.begin()->first;
}

LiveConnection* PendingEnds::due(iouring::TimePoint now) const {
  if (by_time_.empty() || by_time_.begin()->first > now) return nullptr;
  return by_time_.begin()->second;
}

}  // namespace sallyport::gateway
