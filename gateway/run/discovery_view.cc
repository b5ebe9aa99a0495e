#include "gateway/run/discovery_view.h"

#include <utility>

namespace sallyport::gateway {
namespace {

std::optional<DiscoveryView::Written> written(const std::optional<WrittenFile>& file) {
  if (!file) return std::nullopt;
  return DiscoveryView::Written{.uid = file->uid,
                                .owner = file->owner,
                                .modified = file->modified,
                                .bytes = file->bytes,
                                .sha256 = file->sha256,
                                .read = file->read};
}

}  // namespace

DiscoveryView discovery_view(const Config& config, const Options& options) {
  const Discovery& discovery = config.discovery();
  DiscoveryView view{.file = options.discovery,
                     .zone = options.zone,
                     .written = written(config.trail().file()),
                     .refused = config.latest().of(Source::kDiscovery).error,
                     .ignored_groups = discovery.ignored_groups,
                     .state_dir = options.state_dir,
                     .state_as_of = config.kept_as_of(),
                     .routes = {}};
  for (const DiscoveredRoute& route : discovery.routes) {
    const DiscoveryTrail::Route& trail = config.trail().routes().at(route.name);
    DiscoveryView::Route shown{.name = route.name,
                               .targets = route.targets.size(),
                               .since = trail.since,
                               .from_state = trail.kept};
    for (const DiscoveredTarget& target : route.targets) ++shown.zones[target.labels->zone];
    if (route.refused) shown.refused = route.refused->to_string();
    view.routes.push_back(std::move(shown));
  }
  return view;
}

}  // namespace sallyport::gateway
