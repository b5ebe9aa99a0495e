#include "gateway/run/endpoint_watch.h"

#include <chrono>
#include <utility>

#include "gateway/observe/log.h"
#include "iouring/deadline.h"
#include "iouring/result.h"

namespace sallyport::gateway {
namespace {

constexpr std::chrono::seconds kLogEvery{1};

}  // namespace

iouring::Task<void> EndpointWatch::log_changes(iouring::Ring& ring) {
  while (true) {
    iouring::Result<> slept = co_await iouring::sleep_for(ring, kLogEvery);
    if (!slept) co_return;
    look(*publisher_.snapshot()->endpoints);
    look(*resolver_.current());
  }
}

void EndpointWatch::look(const EndpointSet& endpoints) {
  std::unordered_set<std::uint64_t> failing;
  for (const RouteEndpoints& route : endpoints.routes()) {
    for (const auto& endpoint : route.endpoints) {
      const bool fails = endpoint->health->failing();
      if (fails) failing.insert(endpoint->id);
      if (fails == failing_.contains(endpoint->id)) continue;
      if (fails) {
        log_warning("connects to an endpoint fail: avoided",
                    {{"route", route.name},
                     {"backend", endpoint->target},
                     {"address", endpoint->address.to_string()},
                     {"error", iouring::errno_name(endpoint->health->error())}});
      } else {
        log_info("connects to an endpoint succeed again",
                 {{"route", route.name},
                  {"backend", endpoint->target},
                  {"address", endpoint->address.to_string()}});
      }
    }
  }
  failing_ = std::move(failing);
}

// A lookup that fails leaves the addresses that were good last: then nothing is wrong yet.
void EndpointWatch::look(const Resolutions& names) {
  std::set<std::string> unknown;
  for (const auto& [name, resolution] : names) {
    const bool is_unknown = resolution.addresses.empty() && !resolution.error.empty();
    if (is_unknown) unknown.insert(name);
    if (is_unknown == unknown_.contains(name)) continue;
    if (is_unknown) {
      log_warning("name of an endpoint does not resolve",
                  {{"name", name}, {"error", resolution.error}});
    } else {
      log_info("name of an endpoint resolves", {{"name", name}});
    }
  }
  unknown_ = std::move(unknown);
}

}  // namespace sallyport::gateway
