#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/backends/endpoints.h"

namespace sallyport::gateway {

/// An endpoint that the discovery file, or its name, no longer gives.
struct GoneEndpoint {
  std::string route;
  std::shared_ptr<const Endpoint> endpoint;
};

/// Endpoints that are gone, and what is known of them, since they may have connections, or come
/// back: in the order in which they are forgotten, so that what takes over costs the same however
/// many they are. No lock: its owner's.
class GoneEndpoints {
 public:
  /// How long one without connections is remembered. One that has some when its time is over is
  /// looked at again after as long.
  static constexpr std::chrono::minutes kRemembered{5};
  /// Beyond so many those that left first are forgotten before their time, but for those with
  /// connections.
  static constexpr std::size_t kMost = 10'000;

  /// `next` is in force instead of `before` (may be null): those that are not in it leave from now
  /// on. Returns those that are forgotten.
  std::vector<GoneEndpoint> take_over(const EndpointSet* before, const EndpointSet& next,
                                      iouring::TimePoint now);

  /// Those that left last come last.
  [[nodiscard]] std::vector<GoneEndpoint> list() const;
  /// Of one that is gone, how often it was looked at whether to forget it, in all: what
  /// take_over() has done beside going through the two sets.
  [[nodiscard]] std::size_t looks() const noexcept { return looks_; }

 private:
  struct Remembered {
    GoneEndpoint gone;
    iouring::TimePoint since;  // it left, or was looked at
  };
  using Queue = std::list<Remembered>;

  void look_at_first(iouring::TimePoint now, std::vector<GoneEndpoint>& forgotten);

  Queue queue_;
  std::unordered_map<const EndpointLife*, Queue::iterator> by_life_;
  std::size_t looks_ = 0;
};

}  // namespace sallyport::gateway
