// Discovery files: whatever the bytes, a refusal that can be printed, or a state that holds
// together and can be kept and read back.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/backends/discovery.h"
#include "gateway/backends/discovery_state.h"
#include "gateway/backends/discovery_update.h"
#include "gateway/backends/endpoints.h"

namespace {

using namespace sallyport::gateway;

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto discovery = parse_discovery(text, "d.json");
  if (!discovery) {
    require(!discovery.error().what.empty());
    for (const char c : discovery.error().to_string()) {
      require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
    }
    return 0;
  }
  for (const DiscoveredRoute& route : discovery->routes) {
    require(!route.name.empty());
    for (const DiscoveredTarget& target : route.targets) {
      require(target.labels->weight <= 65535);
      require(Target::parse(target.target.canonical()) == target.target);
    }
  }
  for (const ConfigError& warning : discovery->warnings) require(!warning.what.empty());
  require(update_discovery(&*discovery, *discovery, {.max_removal_percent = 0}) == *discovery);
  const auto kept = parse_discovery_state(discovery_state(*discovery, "d.json", {}), "s", "d.json");
  require(kept.has_value());
  for (const DiscoveredRoute& route : discovery->routes) {
    const DiscoveredRoute* const again = kept->discovery.find(route.name);
    require(again != nullptr && (route.targets.empty() || again->targets == route.targets));
  }
  const auto first = EndpointSet::build(*discovery, {}, nullptr);
  const auto second = EndpointSet::build(*discovery, {}, first.get());
  require(first->routes().size() == second->routes().size());
  for (std::size_t i = 0; i < first->routes().size(); ++i) {
    require(first->routes()[i].endpoints == second->routes()[i].endpoints);
  }
  return 0;
}
