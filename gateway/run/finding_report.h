#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "gateway/run/credentials_review.h"

namespace sallyport::gateway {

/// Decides which findings are logged, at each look for them: a new one at once, one that lasts now
/// and then. One that went away and came back is new.
class FindingReport {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// A finding that lasts is logged again after this time: sooner if clients are refused for it.
  static constexpr std::chrono::hours kRepeat{24};
  static constexpr std::chrono::hours kRepeatRefusing{1};

  /// Those of `findings` that are due. `findings` are all that there are; each text is known by
  /// itself, whatever its place. With `all_of_them` every one is due: an operator asked.
  [[nodiscard]] std::vector<Finding> due(std::vector<Finding> findings, TimePoint now,
                                         bool all_of_them);

 private:
  std::map<std::string, TimePoint> logged_;  // by text
};

}  // namespace sallyport::gateway
