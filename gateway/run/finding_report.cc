#include "gateway/run/finding_report.h"

#include <utility>

namespace sallyport::gateway {

std::vector<Finding> FindingReport::due(std::vector<Finding> findings, TimePoint now,
                                        bool all_of_them) {
  std::map<std::string, TimePoint> logged;
  std::vector<Finding> result;
  for (Finding& each : findings) {
    const auto repeat = each.effect == Finding::Effect::kNoneYet ? kRepeat : kRepeatRefusing;
    const auto before = logged_.find(each.text);
    const bool rests = before != logged_.end() && now - before->second < repeat;
    const bool is_due = all_of_them || !rests;
    const bool first = logged.emplace(each.text, is_due ? now : before->second).second;
    if (first && is_due) result.push_back(std::move(each));
  }
  logged_ = std::move(logged);
  return result;
}

}  // namespace sallyport::gateway
