#pragma once

#include <chrono>

namespace sallyport::gateway {

/// When a host name is looked up again. A value; pure.
struct LookupTimes {
  std::chrono::milliseconds shortest{1'000};      ///< that a TTL counts for
  std::chrono::milliseconds longest{300'000};     ///< that a TTL counts for
  std::chrono::milliseconds without_ttl{10'000};  ///< after an answer of /etc/hosts, or of TTL 0
  std::chrono::milliseconds first_retry{1'000};   ///< after a failure; twice as long after the next
  std::chrono::milliseconds last_retry{30'000};   ///< the longest of these

  /// How long an answer is good for. `chance`, 0 to 1, makes it up to a tenth longer, so that names
  /// that were looked up together are not looked up together for ever.
  [[nodiscard]] std::chrono::milliseconds after_answer(std::chrono::seconds ttl,
                                                       double chance) const;
  /// `failures`: in a row, 1 or more. `chance` as above.
  [[nodiscard]] std::chrono::milliseconds after_failure(unsigned failures, double chance) const;
};

}  // namespace sallyport::gateway
