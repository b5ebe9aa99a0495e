// "warm" of a route: connections to its endpoints that are made before a client needs one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {

/// Of each endpoint, of all shards together.
struct WarmRule {
  std::uint32_t min = 0;                       ///< kept ready, used or not
  std::uint32_t max = 0;                       ///< kept ready while they are used; at least `min`
  std::chrono::milliseconds max_idle{10'000};  ///< no connection waits longer for its client

  bool operator==(const WarmRule&) const = default;
};

/// `value` is {"min": N, "max": N, "max-idle": "10s"}: with one of the numbers alone, `min` is 0
/// and `max` is `min`. After an error `target` is as it was.
JsonReader::Outcome read_warm_rule(const JsonReader& reader, std::optional<WarmRule>& target,
                                   const JsonValue& value, const std::string& key);

}  // namespace sallyport::gateway
