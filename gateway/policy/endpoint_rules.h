// How a route treats its endpoints: checks, ejection, what follows from them.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {

/// The route's `health`: how its endpoints are asked whether they work.
struct HealthCheck {
  enum class Type : std::uint8_t {
    kTcp,         ///< it accepts a connection
    kHttp,        ///< it answers a GET with a status of the range
    kSendExpect,  ///< it answers `send` with a text that has `expect` in it
  };

  Type type = Type::kTcp;
  std::chrono::milliseconds interval{5'000};  ///< from the end of one check to the next
  std::chrono::milliseconds timeout{1'000};   ///< of a whole check
  unsigned rise = 2;                          ///< successes in a row that make one up that was down
  unsigned fall = 3;                          ///< failures in a row that make one down
  std::optional<std::uint16_t> port = {};     ///< instead of the target's
  std::string path = "/";
  std::string host = {};  ///< empty: the endpoint's `tls_name`, else its target
  unsigned lowest_status = 200, highest_status = 399;
  std::string send = {}, expect = {};

  bool operator==(const HealthCheck&) const = default;
};

std::string_view to_string(HealthCheck::Type type);  ///< the word of the policy file

/// The route's `ejection`: when an endpoint whose connections fail gets no new ones for a while.
struct Ejection {
  unsigned failures = 3;                   ///< in a row
  std::chrono::milliseconds time{10'000};  ///< the first time, then longer by as much each time
  std::chrono::milliseconds max_time{300'000};  ///< at most
};

enum class WhenNoneHealthy : std::uint8_t {
  kUseAll,  ///< all endpoints get connections
  kRefuse,  ///< clients are refused
};
std::string_view to_string(WhenNoneHealthy choice);  ///< the word of the policy file

struct EndpointRules {
  std::optional<HealthCheck> health;              ///< none: not checked
  std::optional<Ejection> ejection = Ejection{};  ///< none: `false`
  WhenNoneHealthy when_none_healthy = WhenNoneHealthy::kUseAll;
  bool end_when_down = false;                    ///< connections to one that is down end
  bool prefer_zone = false;                      ///< endpoints of our zone go before others
  std::chrono::milliseconds slow_start{0};       ///< until one that came back has its whole weight
  std::chrono::milliseconds removal_timeout{0};  ///< of connections to one that leaves; 0 = never
};

/// Reads `member` of a route into `rules`, if it is a key of these. `key` names its place.
JsonReader::Known read_endpoint_rule(const JsonReader& reader, EndpointRules& rules,
                                     const ReadMember& member, const std::string& key);

}  // namespace sallyport::gateway
