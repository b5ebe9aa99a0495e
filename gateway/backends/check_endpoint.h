#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gateway/backends/check_over_tls.h"
#include "gateway/backends/endpoints.h"
#include "gateway/policy/endpoint_rules.h"
#include "iouring/spare_sockets.h"
#include "iouring/task.h"

namespace sallyport::gateway {

struct CheckOutcome {
  CheckResult result = CheckResult::kUnknown;
  std::string why;     ///< of a failure: "connect: ECONNREFUSED", "status 503", "timeout"
  bool heard = false;  ///< something came from the other side, be it a refusal

  /// A failure that may as well be one of the network between.
  [[nodiscard]] bool silent() const { return result == CheckResult::kFailure && !heard; }
};

/// What the checks of one thread are done with. All outlives them.
struct CheckTools {
  iouring::SpareSockets& sockets;
  CheckTlsTools tls;
};

/// How the connections of one route begin.
struct CheckOpening {
  /// Is sent first: a PROXY header, where the endpoint expects one.
  std::span<const std::byte> header = {};
  /// Null: what follows is in plaintext.
  const CheckTls* tls = nullptr;
};

/// Asks an endpoint once whether it works, within HealthCheck::timeout. kUnknown: this process is
/// at fault (no descriptor, no memory, a loop that stood still), or the task's scope was cancelled.
/// Over TLS the answer is only asked for where the server is the one that it must be. What is given
/// by reference outlives the task. Where nothing may be lost by it the connection ends by a reset,
/// and its socket goes back to CheckTools::sockets.
iouring::Task<CheckOutcome> check_endpoint(const CheckTools& tools, const HealthCheck& rule,
                                           const Endpoint& endpoint, CheckOpening opening = {});

/// What `received`, all that came so far, says; nothing: more has to come. Pure.
[[nodiscard]] std::optional<CheckOutcome> judge_answer(const HealthCheck& rule,
                                                       std::string_view received);

/// What is sent to an endpoint; empty: nothing. Pure.
[[nodiscard]] std::string question_of(const HealthCheck& rule, const Endpoint& endpoint);

}  // namespace sallyport::gateway
