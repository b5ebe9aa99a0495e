#include "gateway/observe/repeat_limit.h"

namespace sallyport::gateway {

bool RepeatLimit::admits(std::string_view message, TimePoint now) {
  auto window = windows_.find(message);
  if (window == windows_.end())
    window = windows_.emplace(std::string(message), Window{.since = now}).first;
  return ++window->second.lines <= kLines;
}

std::vector<RepeatLimit::HeldBack> RepeatLimit::take(TimePoint now, bool all) {
  std::vector<HeldBack> held;
  std::erase_if(windows_, [&](const auto& each) {
    const auto& [message, window] = each;
    if (!all && now - window.since < kWindow) return false;
    if (window.lines > kLines) held.push_back({message, window.lines - kLines});
    return true;
  });
  return held;
}

}  // namespace sallyport::gateway
