#include "ktls/trust/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/pki.h"

namespace sallyport::ktls {
namespace {

using test::LeafSpec;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::expected<PeerIdentity, std::string> identity_of(const LeafSpec& spec) {
  static const test::TestAuthority kAuthority;
  return identify(kAuthority.issue(spec).x509.get());
}

TEST(Identity, IsTheSpiffeIdAndTheDnsNames) {
  const auto identity =
      identity_of({.dns = {"Web.Example.org", "web", "WEB"}, .spiffe = {"spiffe://td/a/b"}});
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->spiffe, "spiffe://td/a/b");
  EXPECT_EQ(identity->trust_domain(), "td");
  EXPECT_THAT(identity->dns, ElementsAre("web.example.org", "web"));
  EXPECT_EQ(identity->display(), "spiffe://td/a/b");
}

TEST(Identity, IsNeverTheCommonName) {
  const auto identity = identity_of({.cn = "web.example.org"});
  ASSERT_TRUE(identity);
  EXPECT_EQ(*identity, PeerIdentity{});
  EXPECT_EQ(identity->display(), "-");
}

TEST(Identity, IsNotAnIpAddress) {
  const auto identity = identity_of({.ip = {"10.0.0.1"}});
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->display(), "-");
}

TEST(Identity, LowersSchemeAndTrustDomainAndKeepsThePath) {
  EXPECT_EQ(normalise_spiffe_id("SPIFFE://Example.ORG/Ns/A_b-c.D"),
            "spiffe://example.org/Ns/A_b-c.D");
  EXPECT_EQ(normalise_spiffe_id("spiffe://example.org"), "spiffe://example.org");
}

TEST(Identity, RefusesMalformedSpiffeIds) {
  for (const char* uri :
       {"spiffe://",        "spiffe:///a",     "spiffe://td/",         "spiffe://td//a",
        "spiffe://td/a/",   "spiffe://td/./a", "spiffe://td/a/..",     "spiffe://td/a%2fb",
        "spiffe://td%41/a", "spiffe://td/a?b", "spiffe://td/a#b",      "spiffe://td:80/a",
        "spiffe://u@td/a",  "spiffe://td/a b", "spiffe://td/\xc3\xa4", "spiffe:td/a",
        "spiffe:/td/a",     "spiffe:",         "spiffe://td/a\n",      "spiffe://*/a",
        "spiffe://td/*"}) {
    EXPECT_FALSE(normalise_spiffe_id(uri)) << uri;
    EXPECT_FALSE(identity_of({.spiffe = {uri}})) << uri;
  }
}

// X.509-SVID 5.2: it is the ID of a trust domain, for the certificates of its authorities.
TEST(Identity, RefusesASpiffeIdThatNamesNoWorkload) {
  EXPECT_FALSE(identity_of({.spiffe = {"spiffe://td"}}));
  EXPECT_FALSE(identity_of({.dns = {"web"}, .spiffe = {"SPIFFE://TD"}}));
}

TEST(Identity, RefusesASpiffeIdWithANul) {
  EXPECT_FALSE(identity_of({.spiffe = {std::string("spiffe://td/a\0b", 15)}}));
}

TEST(Identity, LimitsTheLengthOfSpiffeIds) {
  const std::string most = "spiffe://td/" + std::string(2048 - 12, 'a');
  EXPECT_TRUE(normalise_spiffe_id(most));
  EXPECT_FALSE(normalise_spiffe_id(most + "a"));
  EXPECT_TRUE(normalise_spiffe_id("spiffe://" + std::string(255, 'd') + "/a"));
  EXPECT_FALSE(normalise_spiffe_id("spiffe://" + std::string(256, 'd') + "/a"));
}

TEST(Identity, RefusesASpiffeIdBesideAnyOtherUri) {
  EXPECT_FALSE(identity_of({.spiffe = {"spiffe://td/a", "spiffe://td/b"}}));
  EXPECT_FALSE(identity_of({.spiffe = {"https://example.org/", "spiffe://td/a"}}));
}

TEST(Identity, IgnoresUrisThatAreNotSpiffe) {
  const auto identity = identity_of({.dns = {"web"}, .spiffe = {"https://a/", "urn:b"}});
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->display(), "dns:web");
}

TEST(Identity, RefusesASpiffeIdInACaCertificate) {
  EXPECT_FALSE(identity_of({.spiffe = {"spiffe://td/a"}, .ca = true}));
  const auto dns = identity_of({.dns = {"web"}, .ca = true});
  ASSERT_TRUE(dns);
  EXPECT_EQ(dns->display(), "dns:web");
}

TEST(Identity, LeavesOutDnsNamesThatAreNone) {
  const auto identity = identity_of(
      {.dns = {"*.example.org", std::string("good.org\0.evil.org", 18), "under_score.org", "a..b",
               ".a", "a.", "m\xc3\xbcller.de", "a b", std::string(64, 'a') + ".org", "ok.org"}});
  ASSERT_TRUE(identity);
  EXPECT_THAT(identity->dns, ElementsAre("ok.org"));
}

TEST(Identity, LimitsTheLengthOfDnsNames) {
  std::string name;
  for (int i = 0; i < 126; ++i) name += "a.";
  EXPECT_EQ(normalise_dns_name(name + "a").size(), 253U);
  EXPECT_THAT(normalise_dns_name(name + "aa"), IsEmpty());
  EXPECT_THAT(normalise_dns_name(""), IsEmpty());
}

}  // namespace
}  // namespace sallyport::ktls
