// Discovery files in YAML: whatever the bytes, a refusal that can be printed, or a tree within the
// limits, which the reader of both forms takes.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "gateway/backends/discovery.h"
#include "gateway/backends/yaml_document.h"

namespace {

using namespace sallyport::gateway;

void require(bool holds) {
  if (!holds) std::abort();
}

void require_printable(const ConfigError& error) {
  require(!error.what.empty());
  for (const char c : error.to_string()) {
    require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
  }
}

void check(const JsonValue& value, std::size_t depth, unsigned lines) {
  require(depth <= JsonLimits{}.depth);
  require(value.line >= 1 && value.line <= lines);
  require(value.boolean() == nullptr && value.number() == nullptr);
  if (const auto* items = value.array()) {
    for (const JsonValue& item : *items) check(item, depth + 1, lines);
  }
  if (const auto* members = value.object()) {
    std::set<std::string> keys;
    for (const JsonMember& member : *members) {
      require(keys.insert(member.key).second);
      check(member.value, depth + 1, lines);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = parse_yaml(text, "d.yml");
  if (value) {
    check(*value, 0, static_cast<unsigned>(size) + 1);
  } else {
    require_printable(value.error());
  }
  const auto discovery = parse_discovery(text, "d.yml");
  require(value || !discovery);
  if (!discovery) require_printable(discovery.error());
  return 0;
}
