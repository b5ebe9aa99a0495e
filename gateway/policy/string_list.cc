#include "gateway/policy/string_list.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace sallyport::gateway {
namespace {

// All protocols of a list, each behind its length: what ALPN has (RFC 7301 3.1). A ClientHello is
// best one record of 16 KiB, and has more than that.
constexpr std::size_t kMostProtocolBytes = 8192;

JsonReader::Outcome check_coverage(const JsonReader& reader,
                                   const std::vector<IdentityPattern>& patterns,
                                   const JsonValue& value, const std::string& key) {
  const std::string list = key.substr(key.rfind('.') + 1);
  std::unordered_map<std::string_view, std::size_t> seen;
  std::vector<std::size_t> wildcards;  // only these cover more than their like
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const auto [first, fresh] = seen.emplace(patterns[i].text(), i);
    if (!fresh) {
      return reader.refuse((*value.array())[i].line, item_key(key, i),
                           "is the same as " + item_key(list, first->second));
    }
    if (patterns[i].has_wildcard()) wildcards.push_back(i);
  }
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    for (const std::size_t wide : wildcards) {
      if (wide == i || !patterns[wide].covers(patterns[i])) continue;
      return reader.refuse((*value.array())[i].line, item_key(key, i),
                           "is covered by " + item_key(list, wide) + ", " + patterns[wide].text());
    }
  }
  return {};
}

}  // namespace

JsonReader::Outcome read_patterns(const JsonReader& reader, std::vector<IdentityPattern>& target,
                                  const JsonValue& value, const std::string& key) {
  if (auto checked = reader.check_strings(value, key); !checked) return checked;
  for (const JsonValue& item : *value.array()) {
    auto pattern = IdentityPattern::parse(*item.string());
    if (!pattern)
      return reader.refuse(item.line, item_key(key, target.size()), std::move(pattern.error()));
    target.push_back(*std::move(pattern));
  }
  return check_coverage(reader, target, value, key);
}

JsonReader::Outcome read_protocols(const JsonReader& reader, std::vector<std::string>& target,
                                   const JsonValue& value, const std::string& key) {
  if (auto checked = reader.check_strings(value, key); !checked) return checked;
  std::size_t bytes = 0;
  for (const JsonValue& item : *value.array()) {
    const std::string place = item_key(key, target.size());
    const std::string& protocol = *item.string();
    if (protocol.empty() || protocol.size() > 255) {  // RFC 7301, section 3.1
      return reader.refuse(item.line, place, "a protocol name has 1 to 255 bytes");
    }
    if (std::ranges::find(target, protocol) != target.end())
      return reader.refuse(item.line, place, "is listed twice");
    bytes += 1 + protocol.size();
    if (bytes > kMostProtocolBytes) {
      return reader.refuse(item.line, place,
                           "makes the list longer than " + std::to_string(kMostProtocolBytes) +
                               " bytes, a length byte with each");
    }
    target.push_back(protocol);
  }
  return {};
}

}  // namespace sallyport::gateway
