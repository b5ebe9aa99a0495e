#include "gateway/run/kept_discovery.h"

#include <utility>

namespace sallyport::gateway {
namespace {

constexpr char kKeptName[] = "discovery.json";

}  // namespace

std::expected<std::optional<KeptDiscovery>, std::string> read_kept_discovery(
    const StateDir& directory, const std::string& discovery_file) {
  const auto text = directory.read(kKeptName);
  if (!text) return std::unexpected(text.error());
  if (!*text) return std::nullopt;
  auto kept = parse_discovery_state(**text, directory.path_of(kKeptName), discovery_file);
  if (!kept) return std::unexpected(kept.error().to_string());
  return *std::move(kept);
}

DiscoveryKeeper::DiscoveryKeeper(StateDir directory, metrics::Registry& registry)
    : file_(std::move(directory), kKeptName, registry) {}

void DiscoveryKeeper::keep(const Config& config, const std::string& discovery_file) {
  const Config::Reload& latest = config.latest();
  if (latest.of(Source::kDiscovery).error) return;
  const auto now = std::chrono::steady_clock::now();
  if (!latest.discovery_changed && kept_ && now - *kept_ < kRepeat) return;
  kept_ = now;
  // Endpoints of an earlier process stay as old as they are.
  const auto as_of = config.kept_as_of().value_or(
      std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  file_.keep(discovery_state(config.discovery(), discovery_file, as_of));
}

}  // namespace sallyport::gateway
