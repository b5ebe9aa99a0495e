#include "gateway/run/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Duration, HasAUnitOrIsZero) {
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("10s"), 10s);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("1h"), 1h);
  EXPECT_EQ(parse_duration("0"), 0ms);
  EXPECT_EQ(parse_duration("0s"), 0ms);
  EXPECT_EQ(parse_duration("00010s"), 10s);
}

TEST(Duration, RefusesOtherTexts) {
  for (const char* text : {"", "s", "10", "-1s", "+1s", " 1s", "1s ", "1.5s", "1 s", "1S", "1d",
                           "1us", "1h30m", "1e3s", "0x1s", "1000000000000000000000s", "87601h"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  EXPECT_THAT(parse_duration("10").error(), HasSubstr("unit"));
  EXPECT_THAT(parse_duration("99999999999999999999h").error(), HasSubstr("ten years"));
}

TEST(Size, IsInBytesOrHasAUnit) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("1048576"), 1U << 20);
  EXPECT_EQ(parse_size("512K"), 512U << 10);
  EXPECT_EQ(parse_size("64M"), 64U << 20);
  EXPECT_EQ(parse_size("1024G"), std::uint64_t{1} << 40);
}

TEST(Size, RefusesOtherTexts) {
  for (const char* text : {"", "M", "-1", "+1", " 1", "1 ", "1.5M", "1 M", "1m", "1MB", "1MiB",
                           "1T", "0x1", "1e3", "1025G", "99999999999999999999"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
  EXPECT_THAT(parse_size("1025G").error(), HasSubstr("larger than 1024G"));
}

TEST(AlpnList, HasProtocolsInOrderOrNone) {
  EXPECT_EQ(parse_alpn_list("h2").value(), std::vector<std::string>{"h2"});
  EXPECT_EQ(parse_alpn_list("h2:http/1.1").value(), (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(parse_alpn_list("none").value(), std::vector<std::string>{});
  for (const std::string& text :
       {std::string(), std::string(":"), std::string("h2:"), std::string("h2::x"),
        std::string("h2:h2"), std::string("h2:none"), std::string(256, 'a')}) {
    EXPECT_FALSE(parse_alpn_list(text)) << text;
  }
}

TEST(AdminAddress, IsAListenAddressOrAUnixSocketWithItsMode) {
  EXPECT_EQ(parse_admin_address("127.0.0.1:9464")->address.to_string(), "127.0.0.1:9464");
  EXPECT_EQ(parse_admin_address("[::1]:0")->address.to_string(), "[::1]:0");
  const auto plain = parse_admin_address("unix:/run/admin.sock");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->address.to_string(), "unix:/run/admin.sock");
  EXPECT_EQ(plain->mode, 0600U);
  const auto shared = parse_admin_address("unix:/run/a,b.sock,mode=0660");
  ASSERT_TRUE(shared);
  EXPECT_EQ(shared->address.to_string(), "unix:/run/a,b.sock");
  EXPECT_EQ(shared->text, "unix:/run/a,b.sock,mode=0660");
  EXPECT_EQ(shared->mode, 0660U);
}

TEST(AdminAddress, RefusesOtherTexts) {
  for (const std::string& text :
       {std::string("9464"), std::string("localhost:1"), std::string("unix:"),
        std::string("unix:relative"), std::string("unix:@abstract"), std::string("unix:/x,mode="),
        std::string("unix:/x,mode=1777"), std::string("unix:/x,mode=6"),
        std::string("unix:/x,mode=0690"), std::string("unix:/x,mode=rw"),
        std::string("127.0.0.1:1,mode=0600"), "unix:/" + std::string(107, 'x')}) {
    EXPECT_FALSE(parse_admin_address(text)) << text;
  }
}

TEST(ListenAddress, IsIpv4OrBracketedIpv6WithPort) {
  const auto v4 = parse_listen_address("127.0.0.1:8443");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->address.to_string(), "127.0.0.1:8443");
  EXPECT_EQ(v4->text, "127.0.0.1:8443");

  const auto v6 = parse_listen_address("[::]:0");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->address.to_string(), "[::]:0");
}

TEST(ListenAddress, OverlapsWhatCouldTakeTheSameConnection) {
  const auto overlaps = [](const char* one, const char* other) {
    const ListenAddress a = parse_listen_address(one).value();
    const ListenAddress b = parse_listen_address(other).value();
    EXPECT_EQ(overlap(a, b), overlap(b, a));
    return overlap(a, b);
  };
  EXPECT_TRUE(overlaps("0.0.0.0:1", "127.0.0.1:1"));
  EXPECT_TRUE(overlaps("[::]:1", "[::1]:1"));
  EXPECT_TRUE(overlaps("[::1]:1", "[0:0::1]:1"));
  EXPECT_TRUE(overlaps("127.0.0.1:0", "127.0.0.1:0"));
  EXPECT_FALSE(overlaps("127.0.0.1:1", "127.0.0.2:1"));
  EXPECT_FALSE(overlaps("0.0.0.0:1", "127.0.0.1:2"));
  EXPECT_FALSE(overlaps("0.0.0.0:1", "[::]:1"));
  EXPECT_FALSE(overlaps("0.0.0.0:0", "127.0.0.1:0"));
}

TEST(ListenAddress, RefusesOtherTexts) {
  for (const char* text : {"",
                           ":",
                           ":80",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:x",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:80 ",
                           "127.0.0.1: 80",
                           "localhost:80",
                           "*:80",
                           "256.0.0.1:80",
                           "::1:80",
                           "::1",
                           "[::1]",
                           "[::1]80",
                           "[::1:80",
                           "[]:80",
                           "[127.0.0.1]:80",
                           "1.2.3.4:5:6",
                           "[[::1]]:80"}) {
    EXPECT_FALSE(parse_listen_address(text)) << text;
  }
}

TEST(ListenAddress, RefusesANulByte) {
  EXPECT_FALSE(parse_listen_address(std::string_view("127.0.0.1\0:80", 13)));
  EXPECT_FALSE(parse_listen_address(std::string_view("127.0.0.1\0.evil:80", 18)));
  EXPECT_FALSE(parse_listen_address(std::string_view("[::1\0]:80", 9)));
}

TEST(TrustBundle, MayBeScopedToATrustDomain) {
  EXPECT_EQ(parse_trust_bundle("ca.pem").value().file, "ca.pem");
  EXPECT_EQ(parse_trust_bundle("ca.pem").value().trust_domain, std::nullopt);
  EXPECT_EQ(parse_trust_bundle("Example.ORG=/etc/ca.pem").value().trust_domain, "example.org");
  EXPECT_EQ(parse_trust_bundle("Example.ORG=/etc/ca.pem").value().file, "/etc/ca.pem");
  EXPECT_EQ(parse_trust_bundle("example.org=a=b.pem").value().file, "a=b.pem");
  EXPECT_EQ(parse_trust_bundle("./a=b.pem").value().trust_domain, std::nullopt);
  EXPECT_EQ(parse_trust_bundle("./a=b.pem").value().file, "./a=b.pem");
}

TEST(TrustBundle, NeedsAFileAndAProperDomain) {
  for (const char* text : {"", "example.org=", "=ca.pem", "exa mple=ca.pem", "a*b=ca.pem"}) {
    EXPECT_FALSE(parse_trust_bundle(text)) << text;
  }
}

TEST(Ciphersuites, AreThoseThatRecordsSupport) {
  EXPECT_THAT(parse_ciphersuites("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256").value(),
              ElementsAre("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"));
  for (const char* text :
       {"", ":", "TLS_AES_128_GCM_SHA256:", "TLS_AES_128_CCM_SHA256", "tls_aes_128_gcm_sha256",
        "ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256"}) {
    EXPECT_FALSE(parse_ciphersuites(text)) << text;
  }
}

TEST(Groups, AreAList) {
  EXPECT_EQ(parse_groups("X25519MLKEM768:X25519:P-256"), "X25519MLKEM768:X25519:P-256");
  for (const char* text : {"", ":", "X25519:", ":X25519", "X25519::P-256", "X25519 P-256"}) {
    EXPECT_FALSE(parse_groups(text)) << text;
  }
}

TEST(AdminUrl, IsOfTcpOrAUnixSocket) {
  const auto v6 = parse_admin_url("http://[::1]:9464");
  ASSERT_TRUE(v6) << v6.error();
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, "9464");
  EXPECT_EQ(v6->authority(), "[::1]:9464");
  EXPECT_EQ(parse_admin_url("http://gw-1.example.org:80")->host, "gw-1.example.org");
  EXPECT_EQ(parse_admin_url("unix:/run/admin.sock")->path, "/run/admin.sock");
  const std::string longest = "unix:/" + std::string(106, 'x');
  EXPECT_TRUE(parse_admin_url(longest));
  for (const std::string& wrong :
       {std::string(), std::string("127.0.0.1:9464"), std::string("https://127.0.0.1:9464"),
        std::string("http://127.0.0.1"), std::string("http://:9464"), std::string("http://a:0"),
        std::string("http://a:65536"), std::string("http://a:9464/"),
        std::string("http://::1:9464"), std::string("http://[a]:9464"),
        std::string("http://a b:9464"), std::string("http://a\r\nb:9464"),
        std::string("unix:run/admin.sock"), std::string("unix:"), longest + "x"})
    EXPECT_FALSE(parse_admin_url(wrong)) << wrong;
}

}  // namespace
}  // namespace sallyport::gateway
