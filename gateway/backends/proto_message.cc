#include "gateway/backends/proto_message.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "gateway/policy/json_reader.h"
#include "gateway/policy/number.h"
#include "gateway/policy/suggestion.h"
#include "ktls/base/ascii.h"

namespace sallyport::gateway {
namespace {

// What a writer that leaves nothing out has for a field that is not set.
bool is_default(const JsonValue& value) {
  if (value.is_null()) return true;
  if (const bool* flag = value.boolean()) return !*flag;
  if (const JsonNumber* number = value.number()) return number->whole == 0;
  if (const std::string* text = value.string()) return text->empty();
  if (const JsonValue::Array* items = value.array()) return items->empty();
  return value.object()->empty();
}

}  // namespace

std::string join_key(const std::string& key, const std::string& field) {
  return key.empty() ? field : key + "." + field;
}

std::string proto_name(std::string_view key) {
  std::string name;
  for (const char c : key) {
    if (ktls::ascii_lower(c) != c) name += '_';
    name += ktls::ascii_lower(c);
  }
  return name;
}

std::expected<ProtoMessage, ConfigError> ProtoMessage::read(const ProtoValue& message,
                                                            std::span<const ProtoField> fields,
                                                            std::string_view file) {
  const JsonReader reader(file);
  if (auto object = reader.check_object(*message.value, message.key); !object)
    return std::unexpected(std::move(object.error()));
  ProtoMessage result(message.key);
  for (const JsonMember& member : *message.value->object()) {
    const auto refuse = [&](std::string what) {
      return reader.refuse(member.line, join_key(message.key, printable(member.key)),
                           std::move(what));
    };
    const std::string name = proto_name(member.key);
    const auto field = std::ranges::find(fields, name, &ProtoField::name);
    if (field == fields.end()) {
      std::vector<std::string_view> names;
      for (const ProtoField& each : fields) names.push_back(each.name);
      return refuse("unknown key" + did_you_mean(name, names));
    }
    if (field->use == ProtoField::Use::kRefused && !is_default(member.value))
      return refuse("is not supported by this version");
    if (std::ranges::find(result.known_, field->name, &Known::name) != result.known_.end())
      return refuse("is there already, in another spelling");
    result.known_.push_back({field->name, &member});
  }
  return result;
}

std::optional<ProtoValue> ProtoMessage::find(std::string_view name) const {
  const auto found = std::ranges::find(known_, name, &Known::name);
  if (found == known_.end() || found->member->value.is_null()) return std::nullopt;
  return ProtoValue{&found->member->value, join_key(key_, printable(found->member->key))};
}

std::optional<std::int64_t> proto_number(const JsonValue& value) {
  if (const JsonNumber* number = value.number()) return number->whole;
  if (const std::string* text = value.string()) return parse_number<std::int64_t>(*text);
  return std::nullopt;
}

std::optional<std::size_t> proto_enum(const JsonValue& value,
                                      std::span<const std::string_view> names) {
  if (const std::string* text = value.string()) {
    const auto found = std::ranges::find(names, *text);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  const auto number = proto_number(value);
  if (!number || *number < 0 || std::cmp_greater_equal(*number, names.size())) return std::nullopt;
  return static_cast<std::size_t>(*number);
}

}  // namespace sallyport::gateway
