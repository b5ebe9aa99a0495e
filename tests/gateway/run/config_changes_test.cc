#include "gateway/run/config_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/run/config.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;

Policy::Pointer policy(const std::string& routes) {
  auto read = parse_policy(R"({"credentials": {"c": {"bundle": "b.pem"}},
                               "trust": {"t": {"ca": ["ca.pem"]}},
                               "routes": {"used": {"sni": ["used"], "allow": ["dns:a.b.c"],
                                                   "credentials": "c", "trust": "t"},)" +
                               routes + "}}",
                           "/p/p.json");
  EXPECT_TRUE(read) << read.error().to_string();
  return *read;
}

Changes between_policies(const std::string& before, const std::string& next) {
  return policy_changes(*policy(before), *policy(next));
}

TEST(PolicyChanges, NameWhoMayPassAndWhoNoLonger) {
  EXPECT_THAT(between_policies(R"("r": {"allow": ["spiffe://a/b", "dns:x.y"], "sni": ["r"]})",
                               R"("r": {"allow": ["spiffe://a/c", "dns:x.y"], "sni": ["r", "s"]})"),
              ElementsAre("route r: - allow spiffe://a/b", "route r: + allow spiffe://a/c",
                          "route r: + sni s"));
  EXPECT_THAT(
      between_policies(R"("r": {"allow": ["dns:x.y"]})", R"("r": {"allow-any-verified": true})"),
      ElementsAre("route r: - allow dns:x.y", "route r: allow-any-verified false -> true"));
}

TEST(PolicyChanges, NameRoutesThatCameAndWent) {
  EXPECT_THAT(between_policies(R"("r": {"allow": ["dns:x.y"]})",
                               R"("s": {"allow": ["dns:x.z"], "balance": "power-of-two"})"),
              ElementsAre("- route r", "+ route s", "route s: + allow dns:x.z",
                          "route s: balance round-robin -> power-of-two"));
}

// A key that this does not know would change who passes without a trace.
TEST(PolicyChanges, NameEachKey) {
  const std::pair<const char*, const char*> keys[] = {
      {"alpn", R"(["h2"])"},
      {"alpn", "[]"},
      {"credentials", R"("c")"},
      {"trust", R"("t")"},
      {"health", R"({"type": "tcp"})"},
      {"ejection", "false"},
      {"ejection", R"({"failures": 9})"},
      {"when-none-healthy", R"("refuse")"},
      {"balance", R"("least-connections")"},
      {"prefer-zone", "true"},
      {"slow-start", R"("1s")"},
      {"removal-timeout", R"("1s")"},
      {"max-connections", "5"},
      {"max-connections-per-endpoint", "5"},
      {"limits", R"({"connections-per-identity": 5})"},
      {"proxy-protocol", R"("v2")"},
      {"backend-tls", R"({"verify": "endpoint"})"},
      {"warm", R"({"min": 1})"},
      {"allow-empty", "true"},
      {"truncation", R"("close")"},
  };
  const std::string rest = R"("r": {"sni": ["r"], "allow": ["dns:x.y"])";
  for (const auto& [key, value] : keys) {
    const Changes changes =
        between_policies(rest + "}", rest + ", \"" + key + "\": " + value + "}");
    ASSERT_FALSE(changes.empty()) << key;
    EXPECT_THAT(changes.front(), HasSubstr(key));
  }
}

TEST(PolicyChanges, NameEachKeyOfTlsToBackends) {
  const std::pair<const char*, const char*> keys[] = {{"sni", R"("a")"},
                                                      {"trust", R"("t")"},
                                                      {"credentials", R"("none")"},
                                                      {"credentials", R"("c")"},
                                                      {"alpn", R"(["h2"])"},
                                                      {"alpn", R"("forward")"},
                                                      {"min-tls", R"("1.2")"},
                                                      {"starttls", R"("postgresql")"}};
  const std::string rest = R"("r": {"allow": ["dns:x.y"], "backend-tls": {"verify": ["dns:b.c"])";
  for (const auto& [key, value] : keys) {
    const Changes changes =
        between_policies(rest + "}}", rest + ", \"" + key + "\": " + value + "}}");
    ASSERT_THAT(changes, SizeIs(1)) << key;
    EXPECT_THAT(changes.front(), HasSubstr(std::string("backend-tls.") + key));
  }
  EXPECT_THAT(
      between_policies(rest + "}}",
                       R"("r": {"allow": ["dns:x.y"], "backend-tls": {"verify": ["dns:b.d"]}})"),
      ElementsAre("route r: - backend-tls.verify dns:b.c",
                  "route r: + backend-tls.verify dns:b.d"));
}

TEST(PolicyChanges, AreNoneOfTheSame) {
  const std::string route = R"("r": {"allow": ["dns:x.y"], "health": {"type": "http"}})";
  EXPECT_THAT(between_policies(route, route), IsEmpty());
}

Discovery discovery(const std::string& text) {
  return *parse_discovery(text, "d.json");
}

std::string group(const std::string& route, int first, int last, const std::string& labels = "") {
  std::string text = R"({"labels": {"route": ")" + route + "\"" + labels + R"(}, "targets": [)";
  for (int i = first; i <= last; ++i)
    text += (i == first ? "\"10.0.0." : ", \"10.0.0.") + std::to_string(i) + ":80\"";
  return text + "]}";
}

TEST(DiscoveryChanges, NameTargetsAndTheirLabels) {
  EXPECT_THAT(
      discovery_changes(discovery("[" + group("r", 1, 2) + "]"),
                        discovery("[" + group("r", 2, 3, R"(, "weight": "0", "zone": "a")") + "]")),
      ElementsAre("route r: - 10.0.0.1:80", "route r: + 10.0.0.3:80 weight 0, ready, zone a",
                  "route r: 10.0.0.2:80 weight 100, ready -> weight 0, ready, zone a"));
}

TEST(DiscoveryChanges, NameRoutes) {
  EXPECT_THAT(discovery_changes(discovery("[" + group("r", 1, 1) + "]"),
                                discovery("[" + group("s", 1, 1) + "]")),
              ElementsAre("- route r", "route r: - 10.0.0.1:80", "+ route s",
                          "route s: + 10.0.0.1:80 weight 100, ready"));
}

TEST(DiscoveryChanges, SayHowManyTargetsMoreThereAre) {
  const Changes changes = discovery_changes(discovery("[" + group("r", 1, 1) + "]"),
                                            discovery("[" + group("r", 2, 250) + "]"));
  ASSERT_THAT(changes, SizeIs(1 + kMostTargets + 1));
  EXPECT_EQ(changes.front(), "route r: - 10.0.0.1:80");
  EXPECT_EQ(changes.back(), "route r: " + std::to_string(249 - kMostTargets) + " more came");
}

TEST(DiscoveryChanges, HaveAnEnd) {
  std::string groups = group("r0", 1, 1);
  for (int i = 1; i <= 60; ++i) groups += "," + group("r" + std::to_string(i), 1, 1);
  const Changes changes = discovery_changes(discovery("[]"), discovery("[" + groups + "]"));
  ASSERT_THAT(changes, SizeIs(kMostChanges + 1));
  EXPECT_EQ(changes.back(), "and " + std::to_string(2 * 61 - kMostChanges) + " more");
}

class CredentialsChanges : public testing::Test {
 protected:
  CredentialsChanges() {
    present(root_.issue({.cn = "first"}));
    options_.ca = {{std::nullopt, files_.write("ca.pem", root_.cert_pem()).string()}};
    options_.allow_any_verified = true;
    options_.discovery = files_.write("d.json", "[" + group("r", 1, 1) + "]");
  }
  void present(const test::TestCertificate& certificate) {
    options_.pairs = {{files_.write("tls.pem", certificate.chain_pem).string(),
                       files_.write_secret("tls.key", certificate.key_pem).string()}};
  }
  static const Changes& reload(Config& config, bool force = false) {
    return config.reload(force).changes_of(Source::kCredentials);
  }

  test::TestAuthority root_{"Root"};
  test::TempDir files_;
  Options options_;
};

TEST_F(CredentialsChanges, NameCertificatesThatCameAndWent) {
  Config config(options_);
  EXPECT_THAT(reload(config), IsEmpty()) << "at the start all is new";
  present(root_.issue({.cn = "second"}));
  EXPECT_THAT(
      reload(config),
      ElementsAre(
          MatchesRegex(
              "- certificate .*/tls.pem: CN=first, serial [0-9A-F]+, expires at 20[0-9T:.-]+Z"),
          MatchesRegex(
              ".+ certificate .*/tls.pem: CN=second, serial [0-9A-F]+, expires at 20[0-9T:.-]+Z")));
  EXPECT_THAT(reload(config), IsEmpty());
  EXPECT_THAT(reload(config, true), IsEmpty()) << "an operator asked, and nothing differs";
}

TEST_F(CredentialsChanges, NameAnchorsAndNumbersOfLists) {
  options_.crl = {files_.write("root.crl", root_.crl()).string()};
  Config config(options_);
  reload(config);
  files_.write("root.crl", root_.crl({7, 8}));
  files_.write("ca.pem", root_.cert_pem() + test::TestAuthority("Other").cert_pem());
  const Changes changes = reload(config);
  EXPECT_THAT(
      changes,
      testing::Contains(MatchesRegex(".+ anchor .*/ca.pem: CN=Other, serial .*, expires at .*Z")));
  EXPECT_THAT(changes,
              testing::Contains(MatchesRegex(
                  "- crl .*/root.crl: of CN=Root, number .*, 0 revoked, next update at .*Z")));
  EXPECT_THAT(changes,
              testing::Contains(MatchesRegex(
                  ".+ crl .*/root.crl: of CN=Root, number .*, 2 revoked, next update at .*Z")));
}

TEST_F(CredentialsChanges, NameATicketSecretOnly) {
  options_.ticket_keys = files_.write_secret("tickets", std::string(64, 'a'));
  Config config(options_);
  reload(config);
  files_.write_secret("tickets", std::string(64, 'b'));
  EXPECT_THAT(reload(config), ElementsAre("ticket secret"));
}

TEST_F(CredentialsChanges, AreNoneOfARefusedReload) {
  Config config(options_);
  reload(config);
  files_.write("tls.pem", "nothing");
  EXPECT_THAT(reload(config), IsEmpty());
  EXPECT_TRUE(config.latest().of(Source::kCredentials).error);
}

}  // namespace
}  // namespace sallyport::gateway
