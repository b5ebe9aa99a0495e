// How much of a route its clients, and its endpoints, may have.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "gateway/policy/config_error.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {

/// Zero: no limit. Of the whole process.
struct LimitRules {
  std::uint32_t connections_per_identity = 0;  ///< clients without a usable name share one
  std::uint32_t handshakes_per_identity = 0;   ///< a second, at most 65,535
  std::uint32_t max_connections = 0;
  std::uint32_t max_connections_per_endpoint = 0;
};

/// Reads `member` of a route into `rules`, if it is a key of these. `key` names its place.
JsonReader::Known read_limit_rule(const JsonReader& reader, LimitRules& rules,
                                  const ReadMember& member, const std::string& key);

}  // namespace sallyport::gateway
