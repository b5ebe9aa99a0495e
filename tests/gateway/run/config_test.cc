#include "gateway/run/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr char kOrdersAndUsers[] =
    R"({"routes": {"orders": {"allow-any-verified": true},
                   "users": {"sni": ["users"], "allow-any-verified": true}}})";

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    const auto gateway = authority_.issue({.cn = "gateway", .dns = {"gateway.test"}});
    options_.pairs = {{files_.write("tls.crt", gateway.chain_pem).string(),
                       files_.write_secret("tls.key", gateway.key_pem).string()}};
    options_.ca = {{std::nullopt, files_.write("ca.crt", authority_.cert_pem()).string()}};
    options_.allow_any_verified = true;
    options_.discovery = files_.write("targets.json", one_route("orders", "127.0.0.1:80"));
  }

  static std::string one_route(const std::string& name, const std::string& target) {
    return R"([{"targets": [")" + target + R"("], "labels": {"route": ")" + name + R"("}}])";
  }
  static std::string two_routes(const std::string& orders, const std::string& users) {
    return R"([{"targets": [")" + orders + R"("], "labels": {"route": "orders"}},)" +
           R"({"targets": [")" + users + R"("], "labels": {"route": "users"}}])";
  }
  static std::vector<std::string> findings(const Config& config) {
    std::vector<std::string> texts;
    for (const Finding& each : config.findings()) texts.push_back(each.to_string());
    return texts;
  }
  static std::vector<std::string> refused_routes(const Config::Reload& reload) {
    std::vector<std::string> names;
    for (const auto& each : reload.of(Source::kDiscovery).refused_routes) {
      names.push_back(each.route);
    }
    return names;
  }
  void use_policy(const std::string& text) {
    options_.allow_any_verified = false;
    options_.policy = files_.write("policy.json", text);
  }
  static const std::optional<std::string>& error(const Config::Reload& reload, Source source) {
    return reload.of(source).error;
  }

  test::TestAuthority authority_;
  test::TempDir files_;
  Options options_;
};

TEST_F(ConfigTest, IsCompleteOnceEverythingWasGood) {
  Config config(options_);
  const Config::Reload loaded = config.reload(false);
  EXPECT_TRUE(config.complete());
  EXPECT_TRUE(loaded.changed);
  EXPECT_EQ(config.discovery().routes.size(), 1u);
  EXPECT_NE(config.policy()->find("orders"), nullptr);
}

TEST_F(ConfigTest, ReadsNothingAgainUntilContentChanges) {
  Config config(options_);
  config.reload(false);
  const Config::Reload again = config.reload(false);
  EXPECT_FALSE(again.changed);
  EXPECT_FALSE(again.of(Source::kDiscovery).read);
  EXPECT_TRUE(config.reload(true).of(Source::kDiscovery).read) << "when forced";
}

TEST_F(ConfigTest, RenewsTheTicketSecretOfTheProcessDaily) {
  using std::chrono::hours;
  const auto start = std::chrono::steady_clock::now();
  Config config(options_);
  config.reload(true);
  const auto read_at = [&](std::chrono::steady_clock::time_point now) {
    config.renew_ticket_secret(now);
    return config.reload(false).of(Source::kCredentials).read;
  };
  EXPECT_FALSE(read_at(start + hours(23)));
  const auto before = config.credentials();
  EXPECT_TRUE(read_at(start + hours(25)));
  EXPECT_NE(config.credentials(), before);
  EXPECT_FALSE(read_at(start + hours(26)));
  EXPECT_TRUE(read_at(start + hours(50)));

  options_.ticket_keys = files_.write_secret("tickets", std::string(64, 'a'));
  Config shared(options_);
  shared.reload(true);
  shared.renew_ticket_secret(start + hours(1'000));
  EXPECT_FALSE(shared.reload(false).of(Source::kCredentials).read) << "those of a file are its own";
}

TEST_F(ConfigTest, KeepsTheLastGoodDiscoveryAndSaysWhatIsWrong) {
  Config config(options_);
  config.reload(false);
  files_.write("targets.json", "[{\"targets\": [\n\"127.0.0.1:\"");
  const Config::Reload bad = config.reload(false);
  ASSERT_TRUE(error(bad, Source::kDiscovery));
  EXPECT_THAT(*error(bad, Source::kDiscovery), HasSubstr("targets.json:2"));
  EXPECT_FALSE(bad.changed);
  EXPECT_EQ(config.discovery().routes.size(), 1u);
  EXPECT_TRUE(error(config.reload(false), Source::kDiscovery)) << "tried again";
  files_.write("targets.json", one_route("orders", "127.0.0.1:81"));
  EXPECT_TRUE(config.reload(false).changed);
}

TEST_F(ConfigTest, KeepsTheLastGoodStateWhenAFileIsDeleted) {
  Config config(options_);
  config.reload(false);
  std::filesystem::remove(options_.discovery);
  std::filesystem::remove(options_.pairs[0].key);
  const Config::Reload bad = config.reload(false);
  EXPECT_TRUE(error(bad, Source::kDiscovery));
  ASSERT_TRUE(error(bad, Source::kCredentials));
  EXPECT_THAT(*error(bad, Source::kCredentials), HasSubstr("tls.key"));
  EXPECT_TRUE(config.complete());
}

TEST_F(ConfigTest, ReplacesAGoodSourceBesideABadOne) {
  Config config(options_);
  config.reload(false);
  files_.write("ca.crt", "not a certificate");
  files_.write("targets.json", one_route("orders", "127.0.0.1:99"));
  const Config::Reload mixed = config.reload(false);
  EXPECT_TRUE(error(mixed, Source::kCredentials));
  EXPECT_FALSE(error(mixed, Source::kDiscovery));
  EXPECT_EQ(config.discovery().routes[0].targets[0].text, "127.0.0.1:99");
}

TEST_F(ConfigTest, RefusesUnscopedTrustBesideRulesOfSeveralTrustDomains) {
  use_policy(R"({"routes": {"orders": {"allow": ["spiffe://a.test/x", "spiffe://b.test/x"]}}})");
  Config config(options_);
  const Config::Reload loaded = config.reload(false);
  EXPECT_FALSE(config.complete());
  ASSERT_TRUE(error(loaded, Source::kPolicy));
  EXPECT_THAT(*error(loaded, Source::kPolicy), HasSubstr("a.test, b.test"));
}

TEST_F(ConfigTest, KeepsTheOldPolicyWhenTheNewOneNeedsScopedTrust) {
  use_policy(R"({"routes": {"orders": {"allow": ["spiffe://a.test/x"]}}})");
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  const auto before = config.policy();
  use_policy(R"({"routes": {"orders": {"allow": ["spiffe://a.test/x", "spiffe://b.test/x"]}}})");
  const Config::Reload bad = config.reload(false);
  EXPECT_TRUE(error(bad, Source::kPolicy));
  EXPECT_FALSE(error(bad, Source::kCredentials)) << "which did not change";
  EXPECT_EQ(config.policy(), before);
}

TEST_F(ConfigTest, TakesOfTwoThatDoNotFitTheOneThatFitsWhatIsInForce) {
  const std::string one_domain = R"({"routes": {"orders": {"allow": ["spiffe://a.test/x"]}}})";
  const std::string two_domains =
      R"({"routes": {"orders": {"allow": ["spiffe://a.test/x", "spiffe://b.test/x"]}}})";
  use_policy(one_domain);
  Config config(options_);
  config.reload(false);
  use_policy(two_domains);
  ASSERT_TRUE(error(config.reload(false), Source::kPolicy));
  const auto next = authority_.issue({.cn = "gateway", .dns = {"gateway.test"}});
  files_.replace("tls.key", next.key_pem, 0600);
  files_.replace("tls.crt", next.chain_pem);

  const auto before = config.credentials();
  const Config::Reload renewed = config.reload(false);
  EXPECT_FALSE(error(renewed, Source::kCredentials));
  EXPECT_NE(config.credentials(), before) << "a renewal does not wait for the policy";
  EXPECT_TRUE(error(renewed, Source::kPolicy));

  use_policy(one_domain);
  EXPECT_FALSE(error(config.reload(false), Source::kPolicy));
}

TEST_F(ConfigTest, TakesAKeyOnceItsModeIsRepaired) {
  Config config(options_);
  config.reload(false);
  std::filesystem::permissions(options_.pairs[0].key, std::filesystem::perms(0644));
  ASSERT_TRUE(error(config.reload(false), Source::kCredentials));
  std::filesystem::permissions(options_.pairs[0].key, std::filesystem::perms(0600));
  EXPECT_FALSE(error(config.reload(false), Source::kCredentials));

  const auto next = authority_.issue({.cn = "gateway", .dns = {"gateway.test"}});
  files_.replace("tls.crt", next.chain_pem);
  files_.replace("tls.key", next.key_pem, 0644);
  ASSERT_TRUE(error(config.reload(false), Source::kCredentials));
  const auto before = config.credentials();
  std::filesystem::permissions(options_.pairs[0].key, std::filesystem::perms(0600));
  const Config::Reload repaired = config.reload(false);
  EXPECT_FALSE(error(repaired, Source::kCredentials));
  EXPECT_TRUE(repaired.changed);
  EXPECT_NE(config.credentials(), before);
}

TEST_F(ConfigTest, ReadsRefusedCredentialsAgainWhenThePolicyIsCorrected) {
  use_policy(R"({"routes": {"orders": {"allow": ["spiffe://a.test/x", "spiffe://b.test/x"]}}})");
  Config config(options_);
  const Config::Reload bad = config.reload(false);
  ASSERT_TRUE(error(bad, Source::kPolicy));
  ASSERT_TRUE(error(bad, Source::kCredentials));
  use_policy(R"({"routes": {"orders": {"allow": ["spiffe://a.test/x"]}}})");
  const Config::Reload corrected = config.reload(false);
  EXPECT_FALSE(error(corrected, Source::kPolicy));
  EXPECT_FALSE(error(corrected, Source::kCredentials));
  EXPECT_TRUE(config.complete());
}

TEST_F(ConfigTest, KeepsTheCredentialsObjectWhenNothingInTheFilesChanged) {
  Config config(options_);
  config.reload(false);
  const auto before = config.credentials();
  EXPECT_TRUE(config.reload(true).of(Source::kCredentials).read);
  EXPECT_EQ(config.credentials(), before);
}

TEST_F(ConfigTest, SaysWhenASecondRouteAppearsWithoutAPolicyFile) {
  Config config(options_);
  EXPECT_FALSE(config.reload(false).routes_split);
  files_.write("targets.json",
               R"([{"targets": ["127.0.0.1:80"], "labels": {"route": "orders"}},
                                   {"targets": ["127.0.0.1:81"], "labels": {"route": "users"}}])");
  EXPECT_TRUE(config.reload(false).routes_split);
  EXPECT_FALSE(config.reload(true).routes_split);
}

TEST_F(ConfigTest, WarnsOfRoutesThatOnlyOneFileNames) {
  use_policy(R"({"routes": {"users": {"allow-any-verified": true}}})");
  Config config(options_);
  config.reload(false);
  EXPECT_THAT(findings(config), UnorderedElementsAre(HasSubstr("orders"), HasSubstr("users")));
}

TEST_F(ConfigTest, WarnsOfARouteWithoutEndpointsWithoutAPolicyFileToo) {
  files_.write("targets.json", R"([{"targets": [], "labels": {"route": "orders"}}])");
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  EXPECT_THAT(findings(config), ElementsAre("route orders has no endpoint in the discovery file"));
  options_.discovery_allow_empty = true;
  config.reload(true);
  EXPECT_THAT(findings(config), IsEmpty());
}

TEST_F(ConfigTest, DoesNotWarnOfARouteThatMayBeEmpty) {
  use_policy(R"({"routes": {"orders": {"allow-any-verified": true},
                            "users": {"sni": ["gateway.test"], "allow-any-verified": true,
                                      "allow-empty": true}}})");
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  EXPECT_THAT(findings(config), IsEmpty());
}

// The file that a forgotten label makes was called good, and every client was refused.
TEST_F(ConfigTest, WarnsOfARouteThatPrefersAZoneWhereThereIsNone) {
  use_policy(R"({"routes": {"orders": {"allow-any-verified": true, "prefer-zone": true}}})");
  Config config(options_);
  config.reload(false);
  EXPECT_THAT(
      findings(config),
      Contains("route orders has \"prefer-zone\", and without --zone no zone is preferred"));
  options_.zone = "a";
  Config with_zone(options_);
  with_zone.reload(false);
  EXPECT_THAT(findings(with_zone), Not(Contains(HasSubstr("zone"))));
}

TEST_F(ConfigTest, RefusesAFileWithoutRoutesWhereTheLabelsAreTheRoutes) {
  for (const char* text : {"[]", R"([{"targets": ["127.0.0.1:80"], "labels": {"job": "x"}}])"}) {
    files_.write("targets.json", text);
    Config refused(options_);
    const Config::Reload loaded = refused.reload(false);
    ASSERT_TRUE(error(loaded, Source::kDiscovery)) << text;
    EXPECT_THAT(*error(loaded, Source::kDiscovery),
                HasSubstr("targets.json: no group has a route"));

    options_.discovery_allow_empty = true;
    Config warned(options_);
    warned.reload(false);
    EXPECT_TRUE(warned.complete()) << text;
    EXPECT_THAT(findings(warned), ElementsAre(HasSubstr("every client is refused")));
    options_.discovery_allow_empty = false;
  }
}

// Without a word clients of all routes were sent none.
TEST_F(ConfigTest, WarnsOfARouteForWhoseClientsTheNamesOfCasAreTooLong) {
  std::string roots;
  for (int i = 0; i < 130; ++i)
    roots +=
        test::TestAuthority("Root " + std::to_string(i) + " " + std::string(50, 'x')).cert_pem();
  options_.ca = {{"a.example", files_.write("a.pem", roots)},
                 {"b.example", files_.write("b.pem", authority_.cert_pem())}};
  use_policy(R"({"routes": {
      "orders": {"allow": ["spiffe://a.example/web"]},
      "users": {"sni": ["users"], "allow": ["spiffe://b.example/web"]}}})");
  options_.discovery = files_.write("targets.json", R"([
      {"targets": ["127.0.0.1:80"], "labels": {"route": "orders"}},
      {"targets": ["127.0.0.1:80"], "labels": {"route": "users"}}])");
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  EXPECT_THAT(findings(config), Contains(HasSubstr("route orders: the names of the CAs")));
}

TEST_F(ConfigTest, RefusesAnUpdateThatEmptiesARoute) {
  Config config(options_);
  config.reload(false);
  files_.write("targets.json", R"([{"targets": [], "labels": {"route": "orders"}}])");
  EXPECT_EQ(refused_routes(config.reload(false)), std::vector<std::string>{"orders"});
  EXPECT_EQ(config.discovery().routes[0].targets.size(), 1u);
  options_.discovery_allow_empty = true;
  EXPECT_FALSE(config.reload(true).of(Source::kDiscovery).refused());
  EXPECT_TRUE(config.discovery().routes[0].targets.empty());
}

TEST_F(ConfigTest, AppliesTheRestOfADiscoveryFileAndRetriesWhatWasRefused) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1:80", "127.0.0.1:90"));
  Config config(options_);
  ASSERT_FALSE(config.reload(false).of(Source::kDiscovery).refused());

  files_.write("targets.json", two_routes("127.0.0.1", "127.0.0.1:91"));
  const Config::Reload partial = config.reload(false);
  EXPECT_TRUE(partial.changed);
  EXPECT_EQ(refused_routes(partial), std::vector<std::string>{"orders"});
  EXPECT_EQ(config.discovery().find("orders")->targets[0].text, "127.0.0.1:80");
  EXPECT_EQ(config.discovery().find("users")->targets[0].text, "127.0.0.1:91");

  const Config::Reload again = config.reload(false);
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(refused_routes(again), std::vector<std::string>{"orders"}) << "still";

  files_.write("targets.json", two_routes("127.0.0.1:80", "127.0.0.1:90"));
  const Config::Reload back = config.reload(false);
  EXPECT_FALSE(back.of(Source::kDiscovery).refused());
  EXPECT_EQ(config.discovery().find("users")->targets[0].text, "127.0.0.1:90")
      << "the first file again is not what is in force";
}

TEST_F(ConfigTest, ChangesNothingWhileARouteStaysRefusedWithoutAPolicyFile) {
  Config config(options_);
  config.reload(false);
  files_.write("targets.json", two_routes("127.0.0.1", "127.0.0.1:90"));
  EXPECT_TRUE(config.reload(false).changed);
  const auto policy = config.policy();
  EXPECT_FALSE(config.reload(false).changed);
  EXPECT_EQ(config.policy(), policy);
}

TEST_F(ConfigTest, BeginsARefusedRouteWithoutEndpointsIfAnotherOneIsGood) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1", "127.0.0.1:90"));
  Config config(options_);
  EXPECT_EQ(refused_routes(config.reload(false)), std::vector<std::string>{"orders"});
  EXPECT_TRUE(config.complete());
  EXPECT_TRUE(config.discovery().find("orders")->targets.empty());
}

TEST_F(ConfigTest, IsNotCompleteIfEveryRouteIsRefused) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1", "::1"));
  Config config(options_);
  const Config::Reload loaded = config.reload(false);
  ASSERT_TRUE(error(loaded, Source::kDiscovery));
  EXPECT_THAT(*error(loaded, Source::kDiscovery), HasSubstr("targets.json:1"));
  EXPECT_FALSE(config.complete());
}

TEST_F(ConfigTest, RetiresARouteWhosePolicyIsGone) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1:80", "127.0.0.1:90"));
  Config config(options_);
  config.reload(false);
  use_policy(R"({"routes": {"users": {"allow-any-verified": true}}})");
  EXPECT_FALSE(config.reload(false).of(Source::kDiscovery).refused());
  files_.write("targets.json", one_route("users", "127.0.0.1:91"));
  EXPECT_FALSE(config.reload(false).of(Source::kDiscovery).refused());
  EXPECT_EQ(config.discovery().find("orders"), nullptr);
  EXPECT_EQ(config.discovery().find("users")->targets[0].text, "127.0.0.1:91");
}

TEST_F(ConfigTest, JudgesTheDiscoveryFileAnewUnderAnotherPolicy) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1:80", "127.0.0.1:90"));
  Config config(options_);
  config.reload(false);
  files_.write("targets.json", one_route("users", "127.0.0.1:91"));
  EXPECT_EQ(refused_routes(config.reload(false)), std::vector<std::string>{"orders"});
  use_policy(R"({"routes": {"orders": {"allow-any-verified": true, "allow-empty": true},
                            "users": {"sni": ["users"], "allow-any-verified": true}}})");
  EXPECT_FALSE(config.reload(false).of(Source::kDiscovery).refused());
  EXPECT_EQ(config.discovery().find("orders"), nullptr);
}

// Kept beside the new name, the only route would no longer take every SNI.
TEST_F(ConfigTest, RefusesToRenameTheOnlyRouteWithoutAPolicyFile) {
  Config config(options_);
  config.reload(false);
  files_.write("targets.json", one_route("renamed", "127.0.0.1:80"));
  EXPECT_TRUE(error(config.reload(false), Source::kDiscovery));
  EXPECT_EQ(config.policy()->routes().size(), 1u);
}

TEST_F(ConfigTest, KeepsThePolicyThatItsEgressNeeds) {
  const std::string good = R"({"routes": {"orders": {"egress": true,
      "backend-tls": {"verify": ["dns:orders.test"]}}}})";
  use_policy(good);
  options_.egress = {*parse_egress_address("127.0.0.1:1=orders")};
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  const auto in_force = config.policy();

  use_policy(kOrdersAndUsers);
  EXPECT_THAT(error(config.reload(false), Source::kPolicy).value_or(""),
              HasSubstr("route 'orders' has no \"backend-tls\", and --egress "
                        "127.0.0.1:1=orders names it"));
  EXPECT_EQ(config.policy(), in_force);
  use_policy(R"({"routes": {"users": {"allow-any-verified": true}}})");
  EXPECT_THAT(error(config.reload(false), Source::kPolicy).value_or(""),
              HasSubstr("has no route 'orders', which --egress 127.0.0.1:1=orders names"));
  EXPECT_EQ(config.policy(), in_force);
  use_policy(R"({"routes": {"orders": {"egress": true,
      "backend-tls": {"verify": ["dns:orders.test"]},
      "proxy-protocol": {"tlvs": ["ssl", "client_cert"]}}}})");
  EXPECT_THAT(error(config.reload(false), Source::kPolicy).value_or(""),
              HasSubstr("which an application has not, and --egress 127.0.0.1:1=orders names it"));
  EXPECT_EQ(config.policy(), in_force);
}

TEST_F(ConfigTest, WarnsOfAnEgressToARouteOfClients) {
  use_policy(R"({"routes": {"orders": {"allow-any-verified": true,
      "backend-tls": {"verify": ["dns:orders.test"]}}}})");
  options_.egress = {*parse_egress_address("127.0.0.1:1=orders")};
  Config config(options_);
  config.reload(false);
  EXPECT_THAT(findings(config), Contains(HasSubstr("its route lacks \"egress\": true")));
}

TEST_F(ConfigTest, NeedsACertificateThatARoutePresents) {
  const auto policy = [](const std::string& credentials) {
    return R"({"routes": {"orders": {"egress": true, "backend-tls":
        {"verify": ["dns:orders.test"])" +
           credentials + "}}}}";
  };
  options_.pairs.clear();
  options_.egress = {*parse_egress_address("127.0.0.1:1=orders")};
  use_policy(policy(""));
  Config lacks(options_);
  EXPECT_THAT(error(lacks.reload(false), Source::kPolicy).value_or(""),
              HasSubstr("presents the certificate of --cert to its backends, and none is given"));
  use_policy(policy(R"(, "credentials": "none")"));
  Config presents_none(options_);
  presents_none.reload(false);
  EXPECT_TRUE(presents_none.complete());
}

TEST_F(ConfigTest, ReadsADirectoryAgainWhenItsFilesChange) {
  const test::TestAuthority other("Other");
  const auto cas = files_ / "cas";
  std::filesystem::create_directory(cas);
  files_.write("cas/a.pem", authority_.cert_pem());
  options_.ca = {{std::nullopt, cas.string()}};
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  const auto count = [&] { return config.credentials()->ca_names().fitting(nullptr).size(); };
  EXPECT_EQ(count(), 1U);
  EXPECT_FALSE(config.reload(false).changed);
  EXPECT_THAT(config.directories(), ::testing::IsSupersetOf({files_.path(), cas}));

  files_.write("cas/b.pem", other.cert_pem());
  EXPECT_TRUE(config.reload(false).changed);
  EXPECT_EQ(count(), 2U);
  files_.write("cas/c.pem", "not PEM");
  EXPECT_THAT(*error(config.reload(false), Source::kCredentials), HasSubstr("c.pem"));
  std::filesystem::remove(cas / "c.pem");
  EXPECT_FALSE(error(config.reload(false), Source::kCredentials));
  std::filesystem::remove(cas / "b.pem");
  EXPECT_TRUE(config.reload(false).changed);
  EXPECT_EQ(count(), 1U);
  std::filesystem::remove_all(cas);
  EXPECT_TRUE(error(config.reload(false), Source::kCredentials));
  EXPECT_THAT(config.directories(), Contains(files_.path())) << "where it may come back";
}

TEST_F(ConfigTest, WatchesWhereLinksPointToo) {
  const test::TempDir elsewhere;
  const auto real = elsewhere.write("real.json", one_route("orders", "127.0.0.1:80"));
  std::filesystem::create_symlink(real, files_ / "link.json");
  options_.discovery = files_ / "link.json";
  const Config config(options_);
  const auto directories = config.directories();
  EXPECT_THAT(directories, ::testing::Contains(files_.path()));
  EXPECT_THAT(directories, ::testing::Contains(std::filesystem::canonical(elsewhere.path())));
}

TEST_F(ConfigTest, TakesNoOlderCrlUnlessItIsForcedTo) {
  const auto list = [this](std::chrono::hours issued, std::uint64_t number) {
    return authority_.crl({}, std::chrono::hours(24), issued, number);
  };
  using std::chrono::hours;
  options_.crl = {files_.write("a.crl", list(hours(-2), 300)).string()};
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  const auto in_force = config.credentials();

  files_.replace("a.crl", list(hours(-3), 299));
  const Config::Reload unforced = config.reload(false);
  EXPECT_THAT(error(unforced, Source::kCredentials).value_or("taken"),
              AllOf(HasSubstr("a.crl: the list of CN=Test Root, number 012B of "),
                    HasSubstr("is older than the one in force, number 012C of ")));
  EXPECT_EQ(config.credentials(), in_force);

  files_.replace("a.crl", list(hours(-3), 299) + list(hours(-1), 301));
  EXPECT_EQ(error(config.reload(false), Source::kCredentials), std::nullopt)
      << "a later one is beside it";

  files_.replace("a.crl", list(hours(-3), 299));
  const Config::Reload forced = config.reload(true);
  EXPECT_EQ(error(forced, Source::kCredentials), std::nullopt);
  EXPECT_THAT(forced.older_list.value_or(""), HasSubstr("is older than the one in force"));
  EXPECT_EQ(config.reload(true).older_list, std::nullopt);

  files_.replace("a.crl", list(hours(-4), 500));
  EXPECT_EQ(error(config.reload(false), Source::kCredentials), std::nullopt)
      << "an issuer whose clock went back";
  files_.replace("a.crl", list(hours(-1), 0));
  EXPECT_EQ(error(config.reload(false), Source::kCredentials), std::nullopt) << "without a number";
}

TEST_F(ConfigTest, TakesNoOlderCrlOfAnIssuerThatIsInNoBundle) {
  using std::chrono::hours;
  const test::TestAuthority issuing = authority_.intermediate("Issuing");
  const auto lists = [&](hours issued, std::uint64_t number) {
    return authority_.crl() + issuing.crl({}, hours(24), issued, number);
  };
  options_.crl = {files_.write("a.crl", lists(hours(-2), 300)).string()};
  Config config(options_);
  config.reload(false);
  ASSERT_TRUE(config.complete());
  files_.replace("a.crl", lists(hours(-3), 299));
  EXPECT_THAT(error(config.reload(false), Source::kCredentials).value_or("taken"),
              HasSubstr("is older than the one in force"));
}

// "orders" with a trust and, if it is named, certificates of its own.
class NamedFilesConfigTest : public ConfigTest {
 protected:
  NamedFilesConfigTest() {
    const auto named = authority_.issue({.cn = "named", .dns = {"gateway.test"}});
    chain_ = named.chain_pem;
    files_.write("named.crt", chain_);
    files_.write_secret("named.key", named.key_pem);
    files_.write("partners.crt", authority_.cert_pem());
    use_policy(with_trust("partners.crt"));
    config_.reload(false);
  }

  static std::string with_trust(const std::string& file, const std::string& more = "",
                                const std::string& name = "partners") {
    return R"({"credentials": {"named": {"cert": "named.crt", "key": "named.key"}},
               "trust": {")" +
           name + R"(": {"ca": [")" + file + "\"]" + more + R"(}},
               "routes": {"orders": {"allow-any-verified": true, "credentials": "named",
                                     "trust": ")" +
           name + "\"}}}";
  }

  std::string chain_;
  Config config_{options_};
};

TEST_F(NamedFilesConfigTest, AreNotReadAgainForAPolicyThatStaysRefused) {
  ASSERT_TRUE(config_.complete());
  const auto in_force = config_.all_credentials();
  files_.replace("policy.json", with_trust("missing.crt"));
  for (int look = 0; look < 2; ++look) {
    const Config::Reload& reload = config_.reload(false);
    EXPECT_THAT(error(reload, Source::kPolicy).value_or("taken"), HasSubstr("missing.crt"));
    EXPECT_FALSE(reload.of(Source::kCredentials).read);
    EXPECT_FALSE(reload.of(Source::kCredentials).refused());
  }
  EXPECT_EQ(config_.all_credentials(), in_force);
}

TEST_F(NamedFilesConfigTest, MayGoWithTheirName) {
  ASSERT_TRUE(config_.complete());
  files_.replace("policy.json", R"({"routes": {"orders": {"allow-any-verified": true}}})");
  std::filesystem::remove(files_ / "named.key");
  std::filesystem::remove(files_ / "partners.crt");
  const Config::Reload& reload = config_.reload(false);
  EXPECT_EQ(error(reload, Source::kCredentials), std::nullopt);
  EXPECT_EQ(error(reload, Source::kPolicy), std::nullopt);
  EXPECT_EQ(config_.all_credentials().size(), 1u);
}

// What took over beside a bad one must not stay when all files are as they were.
TEST_F(NamedFilesConfigTest, AreReadAgainWhenAllAreAsBeforeABadOne) {
  ASSERT_TRUE(config_.complete());
  const ktls::Sha256 before = config_.credentials()->trust_digest();
  const test::TestAuthority other("Other Root");
  files_.replace("named.crt", "nonsense");
  files_.replace("ca.crt", authority_.cert_pem() + other.cert_pem());
  EXPECT_NE(error(config_.reload(false), Source::kCredentials), std::nullopt);
  ASSERT_NE(config_.credentials()->trust_digest(), before);

  files_.replace("named.crt", chain_);
  files_.replace("ca.crt", authority_.cert_pem());
  EXPECT_EQ(error(config_.reload(false), Source::kCredentials), std::nullopt);
  EXPECT_EQ(config_.credentials()->trust_digest(), before);
}

TEST_F(NamedFilesConfigTest, TakeNoOlderCrlUnderAChangedDefinition) {
  using std::chrono::hours;
  const auto list = [this](hours issued, std::uint64_t number) {
    return authority_.crl({}, hours(24), issued, number);
  };
  files_.write("new.crl", list(hours(-2), 300));
  files_.write("old.crl", list(hours(-3), 299));
  files_.replace("policy.json", with_trust("partners.crt", R"(, "crl": ["new.crl"])"));
  ASSERT_EQ(error(config_.reload(false), Source::kPolicy), std::nullopt);
  files_.replace("policy.json", with_trust("partners.crt", R"(, "crl": ["old.crl"])"));
  EXPECT_THAT(error(config_.reload(false), Source::kPolicy).value_or("taken"),
              HasSubstr("is older than the one in force"));
  EXPECT_EQ(error(config_.reload(true), Source::kPolicy), std::nullopt);
}

// ---- a start with what --state-dir had

class ConfigWithState : public ConfigTest {
 protected:
  static KeptDiscovery kept(const std::string& groups,
                            std::chrono::hours age = std::chrono::hours(1)) {
    auto discovery = parse_discovery(groups, "state.json");
    EXPECT_TRUE(discovery) << discovery.error().to_string();
    return {
        .discovery = *std::move(discovery),
        .as_of = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) - age};
  }
  static std::string target_of(const Config& config, const std::string& route) {
    const DiscoveredRoute* const found = config.discovery().find(route);
    if (found == nullptr) return "no route";
    return found->targets.empty() ? "no target" : found->targets[0].text;
  }
};

TEST_F(ConfigWithState, BeginsWithItWhereTheFileIsMissingAndThenFollowsTheFile) {
  std::filesystem::remove(options_.discovery);
  Config config(options_);
  const KeptDiscovery state = kept(one_route("orders", "127.0.0.1:7"));
  config.begin_with(state);
  const Config::Reload loaded = config.reload(true);
  ASSERT_TRUE(config.complete()) << "without a policy file it gives the routes, too";
  EXPECT_THAT(*error(loaded, Source::kDiscovery), HasSubstr("targets.json"));
  EXPECT_EQ(target_of(config, "orders"), "127.0.0.1:7");
  EXPECT_EQ(config.kept_as_of(), state.as_of);
  EXPECT_EQ(config.trail().kept_routes(), 1u);
  EXPECT_FALSE(config.trail().file());
  EXPECT_TRUE(error(config.reload(false), Source::kDiscovery)) << "looked for again";

  files_.write("targets.json", one_route("orders", "127.0.0.1:8"));
  EXPECT_TRUE(config.reload(false).discovery_changed);
  EXPECT_EQ(target_of(config, "orders"), "127.0.0.1:8");
  EXPECT_EQ(config.kept_as_of(), std::nullopt);
  EXPECT_TRUE(config.trail().file());
}

TEST_F(ConfigWithState, MayHaveNoRoutes) {
  use_policy(kOrdersAndUsers);
  std::filesystem::remove(options_.discovery);
  Config config(options_);
  const KeptDiscovery state = kept("[]");
  config.begin_with(state);
  config.reload(true);
  ASSERT_TRUE(config.complete());
  EXPECT_EQ(config.kept_as_of(), state.as_of);
  files_.write("targets.json", two_routes("127.0.0.1:1", "127.0.0.1:2"));
  config.reload(false);
  EXPECT_EQ(config.kept_as_of(), std::nullopt);
}

TEST_F(ConfigWithState, IsNotUsedWhereTheFileIsGood) {
  Config config(options_);
  config.begin_with(kept(one_route("orders", "127.0.0.1:7")));
  EXPECT_FALSE(error(config.reload(true), Source::kDiscovery));
  EXPECT_EQ(target_of(config, "orders"), "127.0.0.1:80");
  EXPECT_EQ(config.kept_as_of(), std::nullopt);
}

TEST_F(ConfigWithState, GivesARouteThatTheFileHasWrongItsTargets) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1:1", "no-port"));
  Config config(options_);
  config.begin_with(kept(two_routes("127.0.0.1:7", "127.0.0.1:8")));
  EXPECT_THAT(refused_routes(config.reload(true)), ElementsAre("users"));
  EXPECT_EQ(target_of(config, "orders"), "127.0.0.1:1");
  EXPECT_EQ(target_of(config, "users"), "127.0.0.1:8");
  EXPECT_TRUE(config.kept_as_of());
  EXPECT_TRUE(config.trail().routes().at("users").kept);
  EXPECT_FALSE(config.trail().routes().at("orders").kept);

  files_.write("targets.json", two_routes("127.0.0.1:1", "127.0.0.1:2"));
  EXPECT_THAT(refused_routes(config.reload(false)), IsEmpty());
  EXPECT_EQ(config.kept_as_of(), std::nullopt);
}

// A restart is no way around the protection against a broken generator.
TEST_F(ConfigWithState, CountsAsTheUpdateBefore) {
  use_policy(kOrdersAndUsers);
  Config config(options_);
  config.begin_with(kept(two_routes("127.0.0.1:7", "127.0.0.1:8")));
  EXPECT_THAT(refused_routes(config.reload(true)), ElementsAre("users"));
  EXPECT_EQ(target_of(config, "users"), "127.0.0.1:8");
}

TEST_F(ConfigWithState, IsWarnedOfOnceItIsADayOld) {
  std::filesystem::remove(options_.discovery);
  Config fresh(options_);
  fresh.begin_with(kept(one_route("orders", "127.0.0.1:7"), std::chrono::hours(23)));
  fresh.reload(true);
  EXPECT_THAT(findings(fresh), Not(Contains(HasSubstr("--state-dir"))));
  Config old(options_);
  old.begin_with(kept(one_route("orders", "127.0.0.1:7"), std::chrono::hours(25)));
  old.reload(true);
  EXPECT_THAT(findings(old), Contains(HasSubstr("of --state-dir are used, which are older than")));
  files_.write("targets.json", one_route("orders", "127.0.0.1:8"));
  old.reload(false);
  EXPECT_THAT(findings(old), Not(Contains(HasSubstr("--state-dir"))));
}

TEST_F(ConfigTest, KnowsWhoWroteTheDiscoveryFileAndSinceWhenARouteIsAsItIs) {
  use_policy(kOrdersAndUsers);
  files_.write("targets.json", two_routes("127.0.0.1:1", "127.0.0.1:2"));
  Config config(options_);
  config.reload(true);
  ASSERT_TRUE(config.trail().file());
  const WrittenFile first = *config.trail().file();
  EXPECT_EQ(first.uid, ::geteuid());
  EXPECT_EQ(first.bytes, std::filesystem::file_size(options_.discovery));
  EXPECT_EQ(first.sha256.size(), 64u);
  EXPECT_EQ(config.trail().routes().size(), 2u);

  files_.write("targets.json", "[");
  config.reload(false);
  EXPECT_NE(config.trail().file()->sha256, first.sha256) << "of what was refused, too";
  EXPECT_EQ(config.trail().routes().size(), 2u);
  std::filesystem::remove(options_.discovery);
  config.reload(false);
  EXPECT_FALSE(config.trail().file());
}

}  // namespace
}  // namespace sallyport::gateway
