#include "iouring/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <string>

namespace sallyport::iouring {
namespace {

TEST(SocketAddress, PrintsWhatItParsed) {
  for (const char* text : {"1.2.3.4:5", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80",
                           "[2001:db8::1]:443", "unix:/run/a.sock", "unix:@abstract"}) {
    const auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
    EXPECT_EQ(*address, *SocketAddress::parse(text));
  }
}

TEST(SocketAddress, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:5x", "1.2.3:5",
        "localhost:5", "::1:80", "[::1]", "[::1]80", "[::1:80", "[::g]:1", "[::1%]:80",
        "unix:", "1.2.3.4:+5", " 1.2.3.4:5", "[1.2.3.4]:5"})
    EXPECT_FALSE(SocketAddress::parse(text)) << text;
  EXPECT_FALSE(SocketAddress::parse("unix:" + std::string(200, 'a')));
  EXPECT_FALSE(SocketAddress::parse(std::string("unix:/a\0b", 9)));
}

TEST(SocketAddress, TakesUnixPathsUpToTheLimitOfTheKernel) {
  EXPECT_TRUE(SocketAddress::parse("unix:" + std::string(107, 'a')));
  EXPECT_FALSE(SocketAddress::parse("unix:" + std::string(108, 'a')));
}

TEST(SocketAddress, KnowsPortFamilyAndLoopback) {
  const auto v6 = *SocketAddress::parse("[::1]:80");
  EXPECT_EQ(v6.family(), AF_INET6);
  EXPECT_EQ(v6.port(), 80);
  EXPECT_EQ(v6.with_port(81).to_string(), "[::1]:81");
  EXPECT_TRUE(v6.is_loopback());
  EXPECT_TRUE(SocketAddress::parse("127.9.9.9:1")->is_loopback());
  EXPECT_FALSE(SocketAddress::parse("0.0.0.0:1")->is_loopback());
  EXPECT_FALSE(SocketAddress::parse("[::]:1")->is_loopback());
  EXPECT_TRUE(SocketAddress::parse("[::ffff:127.0.0.2]:1")->is_loopback());
  EXPECT_FALSE(SocketAddress::parse("[::ffff:128.0.0.1]:1")->is_loopback());
  EXPECT_TRUE(SocketAddress::parse("unix:/a")->is_unix());
  EXPECT_EQ(SocketAddress().to_string(), "-");
}

TEST(SocketAddress, KeepsTheZoneOfALinkLocalAddress) {
  const auto address = SocketAddress::parse("[fe80::1%lo]:9");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->to_string(), "[fe80::1%lo]:9");
}

TEST(PeerAddress, KnowsTheNetworkOfItsHost) {
  const auto network = [](std::string_view text) {
    return PeerAddress(*SocketAddress::parse(text)).network();
  };
  EXPECT_EQ(network("10.0.0.1:1"), network("10.0.0.1:2"));
  EXPECT_EQ(network("10.0.0.1:1"), network("[::ffff:10.0.0.1]:1"));
  EXPECT_NE(network("10.0.0.1:1"), network("10.0.0.2:1"));
  EXPECT_EQ(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:2:3:4:5:6]:1"));
  EXPECT_NE(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:3::1]:1"));
  EXPECT_EQ(PeerAddress().network(), 0U);
}

TEST(PeerAddress, HoldsWhatIsOfTheInternetAndNothingElse) {
  static_assert(sizeof(PeerAddress) == 28);
  for (const char* text : {"192.0.2.7:443", "[2001:db8::1]:65535"}) {
    const std::optional<SocketAddress> address = SocketAddress::parse(text);
    ASSERT_TRUE(address);
    EXPECT_EQ(PeerAddress(*address).expand(), *address);
  }
  EXPECT_EQ(PeerAddress().expand().to_string(), "-");
  EXPECT_EQ(PeerAddress(*SocketAddress::parse("unix:/path")).expand().to_string(), "-");
}

}  // namespace
}  // namespace sallyport::iouring
