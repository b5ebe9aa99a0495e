#include "gateway/run/refusal_report.h"

namespace sallyport::gateway {

RefusalReport::Say RefusalReport::refused(const Fingerprint& files, std::string_view complaint,
                                          TimePoint now, bool by_operator) {
  const bool known = latest_ && latest_->complaint == complaint;
  if (!known || latest_->files != files) {
    latest_ = Refusal{.files = files,
                      .complaint = std::string(complaint),
                      .since = now,
                      .logged = known ? latest_->logged : std::nullopt};
  }
  if (!by_operator && settling() && now - latest_->since < kSettle) return {};
  const bool rests = latest_->logged && now - *latest_->logged < kRepeat;
  const Say say{.count = by_operator || !latest_->counted, .log = by_operator || !rests};
  latest_->counted = true;
  if (say.log) latest_->logged = now;
  return say;
}

}  // namespace sallyport::gateway
