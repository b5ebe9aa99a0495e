#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::gateway {

/// Holds back lines that repeat: of each message so many in a window, which begins with the first.
/// Else ten thousand endpoints that fail at once would fill the log, and the journal, which drops
/// what comes too fast from a service, would drop other lines with them.
///
/// One thread at a time.
class RepeatLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::uint64_t kLines = 100;
  static constexpr std::chrono::seconds kWindow{30};

  /// Whether a line of this message may be written. Else it is counted.
  [[nodiscard]] bool admits(std::string_view message, TimePoint now);

  struct HeldBack {
    std::string message;
    std::uint64_t lines = 0;
    bool operator==(const HeldBack&) const = default;
  };
  /// Of windows that are over, or with `all` of all: what was held back in them. Each once.
  [[nodiscard]] std::vector<HeldBack> take(TimePoint now, bool all = false);

 private:
  struct Window {
    TimePoint since;
    std::uint64_t lines = 0;  // held back ones included
  };
  std::map<std::string, Window, std::less<>> windows_;
};

}  // namespace sallyport::gateway
