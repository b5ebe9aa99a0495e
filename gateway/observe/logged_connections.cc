#include "gateway/observe/logged_connections.h"

#include <algorithm>

namespace sallyport::gateway {
namespace {

constexpr std::array<CloseReason, 8> kGoodEnds{CloseReason::kDone,
                                               CloseReason::kClientClosed,
                                               CloseReason::kBackendClosed,
                                               CloseReason::kDrain,
                                               CloseReason::kIdleTimeout,
                                               CloseReason::kLifetime,
                                               CloseReason::kHalfCloseTimeout,
                                               CloseReason::kEndpointRemoved};

// SplitMix64: a pattern among the clients is none among these.
std::uint64_t mixed(std::uint64_t number) {
  number += 0x9E3779B97F4A7C15;
  number = (number ^ (number >> 30U)) * 0xBF58476D1CE4E5B9;
  number = (number ^ (number >> 27U)) * 0x94D049BB133111EB;
  return number ^ (number >> 31U);
}

}  // namespace

bool ended_well(const ConnectionFacts& facts) {
  return !facts.refused && std::ranges::find(kGoodEnds, facts.reason) != kGoodEnds.end();
}

std::optional<LeftOut> left_out(const LoggedConnections& logged, const ConnectionFacts& facts,
                                std::uint64_t number) {
  if (!logged.probes && facts.reason == CloseReason::kClosedBeforeHello) return LeftOut::kLogProbes;
  if (logged.which == LogConnections::kNone) return LeftOut::kLogConnections;
  if (!ended_well(facts)) return std::nullopt;
  if (logged.which == LogConnections::kRefused) return LeftOut::kLogConnections;
  if (mixed(number) % logged.one_in != 0) return LeftOut::kLogSample;
  return std::nullopt;
}

}  // namespace sallyport::gateway
