#include "gateway/policy/limit_rules.h"

#include <limits>
#include <optional>
#include <string_view>

#include "gateway/policy/number.h"

namespace sallyport::gateway {
namespace {

using Outcome = JsonReader::Outcome;

constexpr std::uint32_t kMostConnections = 1'000'000;
constexpr std::uint32_t kMostASecond = std::numeric_limits<std::uint16_t>::max();
constexpr std::string_view kPerSecond = "/s";

Outcome read_connections(const JsonReader& reader, std::uint32_t& target, const JsonValue& value,
                         const std::string& key) {
  const JsonNumber* const number = value.number();
  if (!number || !number->whole || *number->whole < 0 || *number->whole > kMostConnections) {
    return reader.refuse(
        value.line, key,
        "must be a number from 0 to " + std::to_string(kMostConnections) + "; 0 means off");
  }
  target = static_cast<std::uint32_t>(*number->whole);
  return {};
}

// "50/s"
Outcome read_rate(const JsonReader& reader, std::uint32_t& target, const JsonValue& value,
                  const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  std::string_view text = *value.string();
  const bool per_second = text.ends_with(kPerSecond);
  if (per_second) text.remove_suffix(kPerSecond.size());
  const auto count = parse_number<std::uint32_t>(text);
  if (!per_second || !count || *count == 0 || *count > kMostASecond) {
    return reader.refuse(
        value.line, key,
        "must be a rate such as \"50/s\", at most " + std::to_string(kMostASecond) + "/s");
  }
  target = *count;
  return {};
}

Outcome read_limits(const JsonReader& reader, LimitRules& rules, const JsonValue& value,
                    const std::string& key) {
  return reader.read_object(
      value, key, [&](const ReadMember& member, const std::string& place) -> JsonReader::Known {
        if (member.is("connections-per-identity"))
          return read_connections(reader, rules.connections_per_identity, member.value, place);
        if (member.is("handshakes-per-identity"))
          return read_rate(reader, rules.handshakes_per_identity, member.value, place);
        return std::nullopt;
      });
}

}  // namespace

JsonReader::Known read_limit_rule(const JsonReader& reader, LimitRules& rules,
                                  const ReadMember& member, const std::string& key) {
  const JsonValue& value = member.value;
  if (member.is("limits")) return read_limits(reader, rules, value, key);
  if (member.is("max-connections"))
    return read_connections(reader, rules.max_connections, value, key);
  if (member.is("max-connections-per-endpoint"))
    return read_connections(reader, rules.max_connections_per_endpoint, value, key);
  return std::nullopt;
}

}  // namespace sallyport::gateway
