#include "gateway/policy/warm_rule.h"

#include <utility>

#include "gateway/policy/quantity.h"

namespace sallyport::gateway {
namespace {

using Outcome = JsonReader::Outcome;

constexpr std::uint32_t kMostWarm = 1'000;
// What is made anew more often costs more than it saves.
constexpr std::chrono::milliseconds kShortestIdle{100};

Outcome read_warm_count(const JsonReader& reader, std::uint32_t& target, const JsonValue& value,
                        const std::string& key) {
  const JsonNumber* const number = value.number();
  if (!number || !number->whole || *number->whole < 0 || *number->whole > kMostWarm)
    return reader.refuse(value.line, key,
                         "must be a number from 0 to " + std::to_string(kMostWarm));
  target = static_cast<std::uint32_t>(*number->whole);
  return {};
}

Outcome read_idle(const JsonReader& reader, std::chrono::milliseconds& target,
                  const JsonValue& value, const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const auto time = parse_duration(*value.string());
  if (!time)
    return reader.refuse(value.line, key, "'" + printable(*value.string()) + "' " + time.error());
  if (*time < kShortestIdle) return reader.refuse(value.line, key, "must be at least 100ms");
  target = *time;
  return {};
}

}  // namespace

JsonReader::Outcome read_warm_rule(const JsonReader& reader, std::optional<WarmRule>& target,
                                   const JsonValue& value, const std::string& key) {
  WarmRule rule;
  Outcome read = reader.read_object(
      value, key, [&](const ReadMember& member, const std::string& place) -> JsonReader::Known {
        if (member.is("min")) return read_warm_count(reader, rule.min, member.value, place);
        if (member.is("max")) return read_warm_count(reader, rule.max, member.value, place);
        if (member.is("max-idle")) return read_idle(reader, rule.max_idle, member.value, place);
        return std::nullopt;
      });
  if (!read) return read;
  if (value.find("max") == nullptr) rule.max = rule.min;
  if (rule.max == 0) return reader.refuse(value.line, key, "needs a \"max\" of at least 1");
  if (rule.max < rule.min)
    return reader.refuse(value.find("max")->line, key + ".max", "is less than \"min\"");
  target = rule;
  return {};
}

}  // namespace sallyport::gateway
