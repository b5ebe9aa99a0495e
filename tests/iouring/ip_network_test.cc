#include "iouring/ip_network.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport::iouring {
namespace {

bool contains(const char* network, const char* address) {
  return IpNetwork::parse(network)->contains(*SocketAddress::parse(address));
}

TEST(IpNetwork, ContainsWhatSharesItsBits) {
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1:1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0:1"));
  EXPECT_TRUE(contains("10.64.0.0/10", "10.127.255.255:1"));
  EXPECT_FALSE(contains("10.64.0.0/10", "10.128.0.0:1"));
  EXPECT_FALSE(contains("10.64.0.0/10", "10.63.255.255:1"));
  EXPECT_TRUE(contains("192.0.2.7/32", "192.0.2.7:65535"));
  EXPECT_FALSE(contains("192.0.2.7/32", "192.0.2.6:1"));
  EXPECT_TRUE(contains("fd00::/8", "[fdff::1]:1"));
  EXPECT_FALSE(contains("fd00::/8", "[fe00::]:1"));
  EXPECT_TRUE(contains("2001:db8::/33", "[2001:db8:7fff::]:1"));
  EXPECT_FALSE(contains("2001:db8::/33", "[2001:db8:8000::]:1"));
}

TEST(IpNetwork, IsOneAddressWithoutASlash) {
  EXPECT_TRUE(contains("192.0.2.7", "192.0.2.7:1"));
  EXPECT_FALSE(contains("192.0.2.7", "192.0.2.8:1"));
  EXPECT_TRUE(contains("::1", "[::1]:1"));
  EXPECT_EQ(IpNetwork::parse("::1")->to_string(), "::1/128");
}

TEST(IpNetwork, ComparesMappedAddressesAsIpv4) {
  EXPECT_TRUE(contains("10.0.0.0/8", "[::ffff:10.1.2.3]:1"));
  EXPECT_TRUE(contains("::ffff:10.0.0.0/104", "10.1.2.3:1"));
  EXPECT_EQ(IpNetwork::parse("::ffff:10.0.0.0/104")->to_string(), "10.0.0.0/8");
  EXPECT_FALSE(contains("::/0", "10.1.2.3:1"));
  EXPECT_FALSE(contains("::/0", "[::ffff:10.1.2.3]:1"));
  EXPECT_FALSE(contains("::/8", "[::ffff:10.1.2.3]:1"));
}

TEST(IpNetwork, IsEverythingOfItsFamilyWithoutABit) {
  for (const char* all : {"0.0.0.0/0", "::/0", "::ffff:0:0/96"}) {
    EXPECT_TRUE(IpNetwork::parse(all)->is_everything()) << all;
  }
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.1:1"));
  EXPECT_FALSE(contains("0.0.0.0/0", "[2001:db8::1]:1"));
  EXPECT_TRUE(contains("::/0", "[2001:db8::1]:1"));
  EXPECT_FALSE(IpNetwork::parse("0.0.0.0/1")->is_everything());
}

TEST(IpNetwork, ContainsNoOtherFamily) {
  EXPECT_FALSE(contains("0.0.0.0/0", "unix:/run/a.sock"));
  EXPECT_FALSE(IpNetwork::parse("::/0")->contains(SocketAddress()));
}

TEST(IpNetwork, RefusesWhatIsNone) {
  for (const char* text : {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1",
                           "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/8 ", "10/8", "010.0.0.0/8",
                           "localhost", "[::1]/128", "::1%lo/128", "10.0.0.1:80"}) {
    const auto network = IpNetwork::parse(text);
    ASSERT_FALSE(network) << text;
    EXPECT_FALSE(network.error().empty());
  }
  EXPECT_FALSE(IpNetwork::parse(std::string_view("10.0.0.0\0/8", 11)));
  // The operator means another network, or forgot that this one is larger.
  EXPECT_FALSE(IpNetwork::parse("10.0.0.1/8"));
  EXPECT_FALSE(IpNetwork::parse("10.192.0.0/9"));
  EXPECT_FALSE(IpNetwork::parse("fd00::1/64"));
}

}  // namespace
}  // namespace sallyport::iouring
