#include "gateway/observe/timestamp.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

TEST(Timestamp, HasMilliseconds) {
  const std::chrono::system_clock::time_point time(1'600'000'000s + 7ms + 999us);
  EXPECT_EQ(rfc3339(time), "2020-09-13T12:26:40.007Z");
  EXPECT_EQ(rfc3339(std::chrono::system_clock::time_point(-1ms)), "1969-12-31T23:59:59.999Z");
}

// The clock counts nanoseconds, of which 64 bits end in 2262.
TEST(Timestamp, OfACertificateMayBeAnyThatAsn1Has) {
  EXPECT_EQ(rfc3339(sys_seconds(sys_days(9999y / 12 / 31) + 23h + 59min + 59s)),
            "9999-12-31T23:59:59.000Z");
  EXPECT_EQ(rfc3339(sys_seconds(sys_days(1950y / 1 / 1))), "1950-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(sys_seconds(sys_days(1y / 3 / 1) - 1s)), "0001-02-28T23:59:59.000Z");
}

}  // namespace
}  // namespace sallyport::gateway
