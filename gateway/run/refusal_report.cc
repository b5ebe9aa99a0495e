#include "gateway/run/refusal_report.h"

namespace sallyport::gateway {

RefusalReport::Say RefusalReport::refused(const Fingerprint& files, std::string_view complaint,
                                          TimePoint now, bool by_operator) {
  if (!latest_ || latest_->files != files || latest_->complaint != complaint) {
    latest_ = Refusal{
        .files = files, .complaint = std::string(complaint), .since = now, .logged = std::nullopt};
  }
  const bool fresh = !latest_->logged;
  if (!by_operator && fresh && now - latest_->since < kSettle) return Say::kNothing;
  if (!by_operator && !fresh && now - *latest_->logged < kRepeat) return Say::kNothing;
  latest_->logged = now;
  return fresh || by_operator ? Say::kCountAndLog : Say::kLogAgain;
}

}  // namespace sallyport::gateway
