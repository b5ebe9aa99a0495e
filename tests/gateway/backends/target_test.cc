#include "gateway/backends/target.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport::gateway {
namespace {

std::string canonical(std::string_view text) {
  const auto target = Target::parse(text);
  return target ? target->canonical() : "refused";
}

TEST(Target, ReadsEveryKind) {
  EXPECT_EQ(Target::parse("10.0.0.7:8080"), (Target{Target::Kind::kIpv4, "10.0.0.7", 8080}));
  EXPECT_EQ(Target::parse("[::1]:9000"), (Target{Target::Kind::kIpv6, "::1", 9000}));
  EXPECT_EQ(Target::parse("orders_1.svc.local:1"),
            (Target{Target::Kind::kName, "orders_1.svc.local", 1}));
  EXPECT_EQ(Target::parse("unix:/run/x.sock"), (Target{Target::Kind::kUnix, "/run/x.sock", 0}));
}

TEST(Target, OneAddressHasOneCanonicalForm) {
  EXPECT_EQ(canonical("[0:0::0001]:80"), "[::1]:80");
  EXPECT_EQ(canonical("[FE80::A]:080"), "[fe80::a]:80");
  EXPECT_EQ(canonical("Orders.Local.:65535"), "orders.local:65535");
  EXPECT_EQ(canonical("10.0.0.7:1"), "10.0.0.7:1");
  EXPECT_EQ(canonical("unix:/Run/x:1"), "unix:/Run/x:1");
}

TEST(Target, RefusesOtherTexts) {
  for (const char* text : {"",
                           ":",
                           ":80",
                           "host",
                           "host:",
                           "host:0",
                           "host:65536",
                           "host:-1",
                           "host:+1",
                           "host: 1",
                           "host:80x",
                           "host:99999999999999999999",
                           "10.0.0.7",
                           "10.0.0:80",
                           "10.0.0.256:80",
                           "10.0.0.07.1:80",
                           "1:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[]:80",
                           "[::1:80",
                           "::1]:80",
                           "[10.0.0.1]:80",
                           "[fe80::1%eth0]:80",
                           "http://host:80",
                           "host:80/metrics",
                           "ho st:80",
                           ".host:80",
                           "a..b:80",
                           "h\xC3\xA9.org:80",
                           "unix:",
                           "unix:x.sock",
                           "unix:@abstract",
                           "unix:/a\nb",
                           "*:80",
                           "host:80:80"}) {
    EXPECT_EQ(canonical(text), "refused") << text;
  }
  EXPECT_EQ(canonical("unix:/" + std::string(107, 'x')), "refused");
  EXPECT_NE(canonical("unix:/" + std::string(106, 'x')), "refused");
  EXPECT_EQ(canonical(std::string_view("unix:/a\0b", 9)), "refused");
  EXPECT_EQ(canonical(std::string_view("10.0.0.7\0:80", 12)), "refused");
  EXPECT_EQ(canonical(std::string(300, 'a') + ":80"), "refused");
}

}  // namespace
}  // namespace sallyport::gateway
