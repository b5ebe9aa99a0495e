#include "gateway/observe/logged_connections.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace sallyport::gateway {
namespace {

ConnectionFacts ended(CloseReason reason, bool refused = false) {
  ConnectionFacts facts;
  facts.reason = reason;
  facts.refused = refused;
  return facts;
}

const ConnectionFacts kServed = ended(CloseReason::kDone);
const ConnectionFacts kRefusal = ended(CloseReason::kCertificateExpired, true);
const ConnectionFacts kProbe = ended(CloseReason::kClosedBeforeHello, true);

TEST(LoggedConnections, AreAllUnlessItIsAskedForLess) {
  for (const auto& facts : {kServed, kRefusal, kProbe})
    EXPECT_EQ(left_out({}, facts, 0), std::nullopt);
}

TEST(LoggedConnections, LeaveOutProbes) {
  const LoggedConnections logged{.probes = false};
  EXPECT_EQ(left_out(logged, kProbe, 0), LeftOut::kLogProbes);
  EXPECT_EQ(left_out(logged, kServed, 0), std::nullopt);
  EXPECT_EQ(left_out(logged, kRefusal, 0), std::nullopt);
}

TEST(LoggedConnections, OfRefusedOnesHaveAllThatDidNotEndWell) {
  const LoggedConnections logged{.which = LogConnections::kRefused, .one_in = 1'000'000};
  for (const CloseReason reason :
       {CloseReason(CloseReason::kDone), CloseReason(CloseReason::kClientClosed),
        CloseReason(CloseReason::kBackendClosed), CloseReason(CloseReason::kDrain),
        CloseReason(CloseReason::kIdleTimeout), CloseReason(CloseReason::kLifetime),
        CloseReason(CloseReason::kHalfCloseTimeout), CloseReason(CloseReason::kEndpointRemoved)})
    EXPECT_EQ(left_out(logged, ended(reason), 0), LeftOut::kLogConnections) << to_string(reason);
  for (const CloseReason reason :
       {CloseReason(CloseReason::kRevoked), CloseReason(CloseReason::kUntrusted),
        CloseReason(CloseReason::kExpired), CloseReason(CloseReason::kRouteGone),
        CloseReason(CloseReason::kNotAuthorized), CloseReason(CloseReason::kRecordError),
        CloseReason(CloseReason::kClientReset), CloseReason(CloseReason::kBackendDown),
        CloseReason(CloseReason::kInternalError)})
    EXPECT_EQ(left_out(logged, ended(reason), 0), std::nullopt) << to_string(reason);
  EXPECT_EQ(left_out(logged, ended(CloseReason::kDrain, true), 0), std::nullopt)
      << "it was not served";
}

TEST(LoggedConnections, OfNoneHaveNone) {
  const LoggedConnections logged{.which = LogConnections::kNone};
  for (const auto& facts : {kServed, kRefusal, kProbe})
    EXPECT_EQ(left_out(logged, facts, 0), LeftOut::kLogConnections);
}

// A fixed step would show one of two clients that come by turns, and never the other.
TEST(LoggedConnections, AreDrawnEvenlyAndWithoutAPattern) {
  constexpr std::uint64_t kConnections = 100'000;
  const LoggedConnections logged{.one_in = 10};
  std::uint64_t even = 0;
  std::uint64_t odd = 0;
  for (std::uint64_t i = 0; i < kConnections; ++i) {
    const auto why = left_out(logged, kServed, i);
    if (why) {
      ASSERT_EQ(why, LeftOut::kLogSample);
      continue;
    }
    ++(i % 2 == 0 ? even : odd);
    EXPECT_EQ(left_out(logged, kRefusal, i + 1), std::nullopt) << "never a refusal";
  }
  EXPECT_NEAR(static_cast<double>(even), 5'000, 300);
  EXPECT_NEAR(static_cast<double>(odd), 5'000, 300);
}

}  // namespace
}  // namespace sallyport::gateway
