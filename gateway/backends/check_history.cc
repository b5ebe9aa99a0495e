#include "gateway/backends/check_history.h"

namespace sallyport::gateway {

Checked CheckHistory::note(const HealthCheck& rule, const CheckOutcome& outcome, TimePoint now,
                           bool in_network, TimePoint heard_before) {
  if (outcome.result == CheckResult::kUnknown) return state_;
  const bool fails = outcome.result == CheckResult::kFailure;
  if (fails != failing_ || in_row_ == 0) {
    failing_ = fails;
    in_row_ = 0;
    only_silent_ = true;
    failing_since_ = now;
  }
  in_row_ += in_row_ < rule.rise + rule.fall ? 1 : 0;
  withheld_ = false;
  if (!fails) {
    if (state_ == Checked::kUnknown || in_row_ >= rule.rise) state_ = Checked::kUp;
    return state_;
  }
  only_silent_ = only_silent_ && outcome.silent();
  if (in_row_ < rule.fall || state_ == Checked::kDown) return state_;
  withheld_ = in_network && only_silent_ && heard_before < failing_since_;
  if (!withheld_) state_ = Checked::kDown;
  return state_;
}

}  // namespace sallyport::gateway
