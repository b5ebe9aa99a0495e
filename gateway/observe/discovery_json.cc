#include "gateway/observe/discovery_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/observe/json_text.h"
#include "gateway/observe/timestamp.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::seconds;

// A clock that was set back makes nothing younger than now.
seconds age_of(std::chrono::sys_seconds as_of, std::chrono::system_clock::time_point now) {
  return std::max(std::chrono::floor<seconds>(now) - as_of, seconds(0));
}

std::string duration_text(seconds age) {
  const auto text = [](std::int64_t count, const char* unit) {
    return std::to_string(count) + " " + unit + (count == 1 ? "" : "s");
  };
  if (age < std::chrono::minutes(1)) return text(age.count(), "second");
  if (age < std::chrono::hours(1)) return text(age / std::chrono::minutes(1), "minute");
  return text(age / std::chrono::hours(1), "hour");
}

Json text_or_null(const std::optional<std::string>& text) {
  return text ? Json(*text) : Json(nullptr);
}

Json written_json(const std::optional<DiscoveryView::Written>& written) {
  if (!written) return nullptr;
  return {{"uid", written->uid},
          {"owner", written->owner},
          {"modified", rfc3339(written->modified)},
          {"bytes", written->bytes},
          {"sha256", written->sha256},
          {"read", rfc3339(written->read)}};
}

Json state_json(const DiscoveryView& view, std::chrono::system_clock::time_point now) {
  if (view.state_dir.empty()) return nullptr;
  Json json{{"directory", view.state_dir}, {"in_use", view.state_as_of.has_value()}};
  const auto& as_of = view.state_as_of;
  json["as_of"] = as_of ? Json(rfc3339(*as_of)) : Json(nullptr);
  json["age_seconds"] = as_of ? Json(age_of(*as_of, now).count()) : Json(nullptr);
  return json;
}

}  // namespace

std::string discovery_json(const DiscoveryView& view, std::chrono::system_clock::time_point now) {
  Json routes = Json::array();
  for (const DiscoveryView::Route& route : view.routes) {
    routes.push_back({{"route", route.name},
                      {"targets", route.targets},
                      {"zones", route.zones},
                      {"since", rfc3339(route.since)},
                      {"from_state", route.from_state},
                      {"refused", text_or_null(route.refused)}});
  }
  const Json json{{"file", view.file},
                  {"zone", view.zone.empty() ? Json(nullptr) : Json(view.zone)},
                  {"written", written_json(view.written)},
                  {"refused", text_or_null(view.refused)},
                  {"ignored_groups", view.ignored_groups},
                  {"state", state_json(view, now)},
                  {"routes", std::move(routes)}};
  return json_text(json, 2) + "\n";
}

std::string state_in_use(const DiscoveryView& view, std::chrono::system_clock::time_point now) {
  if (!view.state_as_of) return "";
  const auto count = std::ranges::count_if(view.routes, &DiscoveryView::Route::from_state);
  return "endpoints of " + std::to_string(count) + (count == 1 ? " route are" : " routes are") +
         " of --state-dir, " + duration_text(age_of(*view.state_as_of, now)) + " old";
}

}  // namespace sallyport::gateway
