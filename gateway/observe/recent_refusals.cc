#include "gateway/observe/recent_refusals.h"

#include <nlohmann/json.hpp>
#include <ranges>
#include <utility>

#include "gateway/observe/json_lines.h"
#include "gateway/observe/json_text.h"
#include "gateway/observe/presented_json.h"
#include "gateway/observe/timestamp.h"

namespace sallyport::gateway {
namespace {

using Json = nlohmann::ordered_json;

Json line_of(const ConnectionFacts& refused) {
  Json steps = Json::array();
  for (const ktls::JudgementStep& step : refused.steps) {
    steps.push_back(
        {{"subject", step.subject}, {"passed", step.passed}, {"finding", step.finding}});
  }
  return {{"time", rfc3339(refused.time)},
          {"id", refused.id},
          {"listener", refused.listener},
          {"client", refused.client},
          {"result", to_string(refused.reason)},
          {"detail", refused.detail},
          {"route", refused.route},
          {"sni", refused.sni},
          {"alpn_offered", refused.alpn_offered},
          {"presented", refused.presented ? presented_json(*refused.presented) : Json(nullptr)},
          {"steps", std::move(steps)}};
}

}  // namespace

void RecentRefusals::add(ConnectionFacts facts) {
  if (!facts.refused) return;
  const std::lock_guard lock(mutex_);
  if (latest_.size() == kKept) latest_.pop_front();
  latest_.push_back(std::move(facts));
}

std::string RecentRefusals::to_json() const {
  std::deque<ConnectionFacts> latest;
  {
    const std::lock_guard lock(mutex_);
    latest = latest_;
  }
  JsonLines lines;
  for (const ConnectionFacts& each : std::views::reverse(latest))
    lines.add(json_text(line_of(each)));
  return lines.finish();
}

}  // namespace sallyport::gateway
