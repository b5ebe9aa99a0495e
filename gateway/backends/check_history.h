#pragma once

#include "gateway/backends/check_endpoint.h"
#include "gateway/backends/endpoint_life.h"
#include "gateway/policy/endpoint_rules.h"

namespace sallyport::gateway {

/// What the checks of one endpoint amount to: `rise` successes in a row make one up that was down,
/// `fall` failures in a row make one down; one that nothing is known of is up with the first
/// success. Pure.
class CheckHistory {
 public:
  using TimePoint = iouring::TimePoint;

  /// `heard_before`: when, before this check began, another endpoint last answered one over the
  /// network. Where all that an endpoint in the network did was to be silent, and nobody was heard
  /// from its first failure to the begin of this check, the network here is as likely cut, or was
  /// until a moment ago: it does not go down. `in_network`: not on this host.
  Checked note(const HealthCheck& rule, const CheckOutcome& outcome, TimePoint now, bool in_network,
               TimePoint heard_before);
  [[nodiscard]] Checked state() const { return state_; }
  /// It would be down, but for silence all around.
  [[nodiscard]] bool withheld() const { return withheld_; }

 private:
  Checked state_ = Checked::kUnknown;
  unsigned in_row_ = 0;  // of the same outcome
  bool failing_ = false;
  bool only_silent_ = true;
  bool withheld_ = false;
  TimePoint failing_since_;
};

}  // namespace sallyport::gateway
