#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/run/fingerprint.h"

namespace sallyport::gateway {

/// Decides what is said of a source that is refused, at each attempt to read it. Writers replace a
/// key and its certificate one after the other, so the first refusals of a new content are not
/// reported; and one that stays for days is counted once and logged now and then.
class RefusalReport {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// How long a content must stay refused before that is reported.
  static constexpr std::chrono::seconds kSettle{1};
  /// An unchanged complaint is logged again after this time.
  static constexpr std::chrono::hours kRepeat{1};

  struct Say {
    bool count = false, log = false;
    bool operator==(const Say&) const = default;
  };

  /// `files` were refused for the reason `complaint`. Asked for `by_operator`, it is reported at
  /// once and every time. The same complaint about other files is counted, not logged again.
  [[nodiscard]] Say refused(const Fingerprint& files, std::string_view complaint, TimePoint now,
                            bool by_operator);
  /// The files are in force. True if their refusal was reported, so that its end is worth a line.
  bool accepted() {
    const bool reported = latest_ && latest_->logged;
    latest_.reset();
    return reported;
  }

  /// A refusal is not reported yet: the source is to be read again after kSettle.
  [[nodiscard]] bool settling() const { return latest_ && !latest_->counted; }

 private:
  struct Refusal {
    Fingerprint files;
    std::string complaint;
    TimePoint since;
    bool counted = false;
    std::optional<TimePoint> logged;  // the complaint, of these files or of those before
  };
  std::optional<Refusal> latest_;
};

}  // namespace sallyport::gateway
