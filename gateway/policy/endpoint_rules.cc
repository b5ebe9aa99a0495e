#include "gateway/policy/endpoint_rules.h"

#include <limits>
#include <utility>

#include "gateway/policy/number.h"
#include "gateway/policy/quantity.h"

namespace sallyport::gateway {
namespace {

using std::chrono::milliseconds;
using Outcome = JsonReader::Outcome;

constexpr WhenNoneHealthy kChoices[] = {WhenNoneHealthy::kUseAll, WhenNoneHealthy::kRefuse};
constexpr HealthCheck::Type kTypes[] = {HealthCheck::Type::kTcp, HealthCheck::Type::kHttp,
                                        HealthCheck::Type::kSendExpect};
// What is checked more often, or by more than this, is a mistake.
constexpr milliseconds kShortestInterval{100};
constexpr unsigned kMostInARow = 100;
constexpr std::size_t kLongestText = 4096;

Outcome read_duration(const JsonReader& reader, milliseconds& target, const JsonValue& value,
                      const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  auto duration = parse_duration(*value.string());
  if (!duration) {
    return reader.refuse(value.line, key,
                         "'" + printable(*value.string()) + "' " + duration.error());
  }
  target = *duration;
  return {};
}

Outcome read_time(const JsonReader& reader, milliseconds& target, const JsonValue& value,
                  const std::string& key) {
  if (auto read = read_duration(reader, target, value, key); !read) return read;
  if (target.count() == 0) return reader.refuse(value.line, key, "must be longer than 0");
  return {};
}

Outcome read_count(const JsonReader& reader, unsigned& target, const JsonValue& value,
                   const std::string& key) {
  const JsonNumber* const number = value.number();
  if (!number || !number->whole || *number->whole < 1 || *number->whole > kMostInARow) {
    return reader.refuse(value.line, key,
                         "must be a number from 1 to " + std::to_string(kMostInARow));
  }
  target = static_cast<unsigned>(*number->whole);
  return {};
}

Outcome read_port(const JsonReader& reader, std::optional<std::uint16_t>& target,
                  const JsonValue& value, const std::string& key) {
  const JsonNumber* const number = value.number();
  constexpr auto kHighest = std::numeric_limits<std::uint16_t>::max();
  if (!number || !number->whole || *number->whole < 1 || *number->whole > kHighest)
    return reader.refuse(value.line, key, "must be a port, 1 to 65535");
  target = static_cast<std::uint16_t>(*number->whole);
  return {};
}

// "200-399" or "204".
Outcome read_status(const JsonReader& reader, HealthCheck& check, const JsonValue& value,
                    const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  const std::string_view text = *value.string();
  const std::size_t dash = text.find('-');
  const auto lowest = parse_number<unsigned>(text.substr(0, dash));
  const auto highest =
      dash == std::string_view::npos ? lowest : parse_number<unsigned>(text.substr(dash + 1));
  if (!lowest || !highest || *lowest < 100 || *highest > 599 || *lowest > *highest) {
    return reader.refuse(value.line, key, "must be a status or a range such as \"200-399\"");
  }
  check.lowest_status = *lowest;
  check.highest_status = *highest;
  return {};
}

// It goes into a line of the request as it is.
Outcome read_request_text(const JsonReader& reader, std::string& target, const JsonValue& value,
                          const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  for (const char byte : *value.string()) {
    if (byte <= ' ' || byte == '\x7f')
      return reader.refuse(value.line, key, "holds a blank or a control character");
  }
  target = *value.string();
  return {};
}

Outcome read_path(const JsonReader& reader, std::string& target, const JsonValue& value,
                  const std::string& key) {
  if (auto read = read_request_text(reader, target, value, key); !read) return read;
  if (!target.starts_with('/')) return reader.refuse(value.line, key, "must begin with '/'");
  return {};
}

Outcome read_bytes(const JsonReader& reader, std::string& target, const JsonValue& value,
                   const std::string& key) {
  if (auto checked = reader.check_text(value, key); !checked) return checked;
  if (value.string()->size() > kLongestText) {
    return reader.refuse(value.line, key,
                         "is longer than " + std::to_string(kLongestText) + " bytes");
  }
  target = *value.string();
  return {};
}

// Which keys are there, and so whether each has a use.
struct KeysOf {
  const JsonMember* http = nullptr;  // the first that only "http" has
  const JsonMember* text = nullptr;  // the first that only "send-expect" has
};

JsonReader::Known read_health_key(const JsonReader& reader, HealthCheck& check, KeysOf& keys,
                                  const ReadMember& member, const std::string& key) {
  const JsonValue& value = member.value;
  if (member.is("type"))
    return reader.read_word(
        check.type, kTypes, [](HealthCheck::Type type) { return to_string(type); }, value, key);
  if (member.is("interval")) return read_time(reader, check.interval, value, key);
  if (member.is("timeout")) return read_time(reader, check.timeout, value, key);
  if (member.is("rise")) return read_count(reader, check.rise, value, key);
  if (member.is("fall")) return read_count(reader, check.fall, value, key);
  if (member.is("port")) return read_port(reader, check.port, value, key);
  const bool http = member.is("path") || member.is("host") || member.is("status");
  const bool text = member.is("send") || member.is("expect");
  if (http && keys.http == nullptr) keys.http = &member.member;
  if (text && keys.text == nullptr) keys.text = &member.member;
  if (member.is("path")) return read_path(reader, check.path, value, key);
  if (member.is("host")) return read_request_text(reader, check.host, value, key);
  if (member.is("status")) return read_status(reader, check, value, key);
  if (member.is("send")) return read_bytes(reader, check.send, value, key);
  if (member.is("expect")) return read_bytes(reader, check.expect, value, key);
  return std::nullopt;
}

Outcome read_health(const JsonReader& reader, EndpointRules& rules, const JsonValue& value,
                    const std::string& key) {
  HealthCheck check;
  KeysOf keys;
  const Outcome read =
      reader.read_object(value, key, [&](const ReadMember& member, const std::string& place) {
        return read_health_key(reader, check, keys, member, place);
      });
  if (!read) return read;
  if (value.find("type") == nullptr) return reader.refuse(value.line, key, "\"type\" is missing");
  const auto no_use = [&](const JsonMember& member) {
    return reader.refuse(member.line, key + "." + member.key,
                         "is no key of the type \"" + std::string(to_string(check.type)) + "\"");
  };
  if (keys.http != nullptr && check.type != HealthCheck::Type::kHttp) return no_use(*keys.http);
  if (keys.text != nullptr && check.type != HealthCheck::Type::kSendExpect)
    return no_use(*keys.text);
  if (check.type == HealthCheck::Type::kSendExpect && check.expect.empty())
    return reader.refuse(value.line, key, "\"expect\" is missing");
  if (check.interval < kShortestInterval) {
    return reader.refuse(value.find("interval")->line, key + ".interval", "must be at least 100ms");
  }
  rules.health = std::move(check);
  return {};
}

Outcome read_ejection(const JsonReader& reader, EndpointRules& rules, const JsonValue& value,
                      const std::string& key) {
  if (value.boolean() && !*value.boolean()) {
    rules.ejection.reset();
    return {};
  }
  if (!value.object()) {
    return reader.refuse(value.line, key,
                         "must be false or an object, not " + std::string(value.kind()));
  }
  Ejection ejection;
  const Outcome read = reader.read_object(
      value, key, [&](const ReadMember& member, const std::string& place) -> JsonReader::Known {
        if (member.is("failures"))
          return read_count(reader, ejection.failures, member.value, place);
        if (member.is("time")) return read_time(reader, ejection.time, member.value, place);
        if (member.is("max-time")) return read_time(reader, ejection.max_time, member.value, place);
        return std::nullopt;
      });
  if (!read) return read;
  if (ejection.max_time < ejection.time) {
    return reader.refuse(value.line, key, "\"max-time\" is shorter than \"time\"");
  }
  rules.ejection = ejection;
  return {};
}

}  // namespace

std::string_view to_string(HealthCheck::Type type) {
  switch (type) {
    case HealthCheck::Type::kTcp:
      return "tcp";
    case HealthCheck::Type::kHttp:
      return "http";
    case HealthCheck::Type::kSendExpect:
      return "send-expect";
  }
  return {};
}

std::string_view to_string(WhenNoneHealthy choice) {
  return choice == WhenNoneHealthy::kUseAll ? "use-all" : "refuse";
}

JsonReader::Known read_endpoint_rule(const JsonReader& reader, EndpointRules& rules,
                                     const ReadMember& member, const std::string& key) {
  const JsonValue& value = member.value;
  if (member.is("health")) return read_health(reader, rules, value, key);
  if (member.is("ejection")) return read_ejection(reader, rules, value, key);
  if (member.is("when-none-healthy")) {
    return reader.read_word(
        rules.when_none_healthy, kChoices, [](WhenNoneHealthy choice) { return to_string(choice); },
        value, key);
  }
  if (member.is("end-when-down")) return reader.read_bool(rules.end_when_down, value, key);
  if (member.is("prefer-zone")) return reader.read_bool(rules.prefer_zone, value, key);
  if (member.is("slow-start")) return read_duration(reader, rules.slow_start, value, key);
  if (member.is("removal-timeout")) return read_duration(reader, rules.removal_timeout, value, key);
  return std::nullopt;
}

}  // namespace sallyport::gateway
