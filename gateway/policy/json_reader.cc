#include "gateway/policy/json_reader.h"

#include <cstddef>

namespace sallyport::gateway {

std::string item_key(const std::string& list, std::size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

JsonReader::Outcome JsonReader::check_strings(const JsonValue& value,
                                              const std::string& key) const {
  const JsonValue::Array* items = value.array();
  if (!items) {
    return refuse(value.line, key, "must be an array of strings, not " + std::string(value.kind()));
  }
  if (items->empty()) return refuse(value.line, key, "must not be empty");
  for (std::size_t i = 0; i < items->size(); ++i) {
    const JsonValue& item = (*items)[i];
    if (item.string()) continue;
    return refuse(item.line, item_key(key, i), "must be a string, not " + std::string(item.kind()));
  }
  return {};
}

JsonReader::Outcome JsonReader::check_text(const JsonValue& value, const std::string& key) const {
  if (!value.string())
    return refuse(value.line, key, "must be a string, not " + std::string(value.kind()));
  if (value.string()->empty()) return refuse(value.line, key, "must not be empty");
  return {};
}

JsonReader::Outcome JsonReader::check_object(const JsonValue& value, const std::string& key) const {
  if (value.object()) return {};
  return refuse(value.line, key, "must be an object, not " + std::string(value.kind()));
}

JsonReader::Outcome JsonReader::read_bool(bool& target, const JsonValue& value,
                                          const std::string& key) const {
  if (!value.boolean()) {
    return refuse(value.line, key, "must be true or false, not " + std::string(value.kind()));
  }
  target = *value.boolean();
  return {};
}

}  // namespace sallyport::gateway
