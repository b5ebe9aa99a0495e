#include "gateway/backends/discovery_state.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "gateway/backends/file_sd.h"
#include "gateway/policy/json_document.h"
#include "gateway/policy/json_reader.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kVersion = 1;
// Beyond the limit of a discovery file, for what an escape takes.
constexpr JsonLimits kLimits{.bytes = std::size_t{256} << 20};

Json labels_json(const std::string& route, const GroupLabels& labels) {
  Json json{{"route", route},
            {"weight", std::to_string(labels.weight)},
            {"state", to_string(labels.state)}};
  if (!labels.zone.empty()) json["zone"] = labels.zone;
  if (!labels.tls_name.empty()) json["tls_name"] = labels.tls_name;
  if (!labels.tls_id.empty()) json["tls_id"] = labels.tls_id;
  return json;
}

// Groups of targets in a row that have the same labels. One without targets is there all the same:
// without a policy file the names are the routes.
void add_groups(Json& groups, const DiscoveredRoute& route) {
  if (route.targets.empty())
    groups.push_back({{"targets", Json::array()}, {"labels", labels_json(route.name, {})}});
  const GroupLabels* labels = nullptr;
  for (const DiscoveredTarget& target : route.targets) {
    if (labels == nullptr || *labels != *target.labels) {
      labels = target.labels.get();
      groups.push_back({{"targets", Json::array()}, {"labels", labels_json(route.name, *labels)}});
    }
    groups.back()["targets"].push_back(target.text);
  }
}

}  // namespace

// `file` is that of the state itself once such a discovery is in force.
std::string discovery_state(const Discovery& discovery, std::string_view discovery_file,
                            std::chrono::sys_seconds as_of) {
  Json groups = Json::array();
  for (const DiscoveredRoute& route : discovery.routes) add_groups(groups, route);
  const Json state{{"version", kVersion},
                   {"discovery", discovery_file},
                   {"as_of", as_of.time_since_epoch().count()},
                   {"groups", std::move(groups)}};
  // A file's name may be no UTF-8: what is read back is then of another one, and not used.
  return state.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::expected<KeptDiscovery, ConfigError> parse_discovery_state(std::string_view text,
                                                                std::string_view state_file,
                                                                std::string_view discovery_file) {
  const JsonReader reader(state_file);
  const auto root = parse_json(text, state_file, kLimits);
  if (!root) return std::unexpected(root.error());
  const auto number = [&root](std::string_view key) -> std::optional<std::int64_t> {
    const JsonValue* const value = root->find(key);
    const JsonNumber* const found = value != nullptr ? value->number() : nullptr;
    return found != nullptr ? found->whole : std::nullopt;
  };
  const JsonValue* const of = root->find("discovery");
  const JsonValue* const groups = root->find("groups");
  const auto as_of = number("as_of");
  if (number("version") != kVersion) {
    return reader.refuse(
        0, "version",
        "is not " + std::to_string(kVersion) + ", which is the only one that this program reads");
  }
  if (of == nullptr || !of->string() || groups == nullptr || !as_of)
    return reader.refuse(0, "", "lacks \"discovery\", \"as_of\" or \"groups\"");
  if (*of->string() != discovery_file) {
    return reader.refuse(0, "discovery",
                         "is '" + printable(*of->string(), 200) + "', and --discovery is '" +
                             printable(discovery_file, 200) + "'");
  }
  auto discovery = read_file_sd(*groups, state_file);
  if (!discovery) return std::unexpected(std::move(discovery.error()));
  // What was in force was good: anything else is not what was written.
  if (const auto refused = discovery->refused(); !refused.empty())
    return std::unexpected(*refused.front()->refused);
  return KeptDiscovery{.discovery = *std::move(discovery),
                       .as_of = std::chrono::sys_seconds(std::chrono::seconds(*as_of))};
}

}  // namespace sallyport::gateway
