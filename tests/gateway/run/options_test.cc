#include "gateway/run/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Parsed = std::expected<CommandLine, RefusedOptions>;
using Words = std::vector<std::string>;

Parsed parse_words(const Words& words) {
  std::vector<const char*> argv{"sallyport"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse(static_cast<int>(argv.size()), argv.data());
}

const Words kLeast{"--listen", "0.0.0.0:8443", "--cert",      "c.pem",  "--key",   "k.pem",
                   "--ca",     "ca.pem",       "--discovery", "d.json", "--allow", "dns:a.b.c"};

// The least command line that is complete, and `more`.
Words with(const Words& more) {
  Words words = kLeast;
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// The least command line without `flag` and its value.
Words without(const std::string& flag) {
  Words words = kLeast;
  const auto at = std::ranges::find(words, flag);
  words.erase(at, at + 2);
  return words;
}

Options options_of(const Words& words) {
  Parsed parsed = parse_words(words);
  if (!parsed) {
    ADD_FAILURE() << parsed.error().errors.front().message();
    return {};
  }
  return std::get<Options>(*parsed);
}

// All errors, one a line.
std::string error_of(const Words& words) {
  const Parsed parsed = parse_words(words);
  if (parsed) return "no error";
  std::string all;
  for (const OptionsError& error : parsed.error().errors)
    all += (all.empty() ? "" : "\n") + error.message();
  return all;
}

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) : path_(testing::TempDir() + "sallyport_XXXXXX") {
    const int file = ::mkstemp(path_.data());
    if (file < 0) std::abort();
    ::close(file);
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { ::unlink(path_.c_str()); }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Options, HaveTheDefaultsOfTheContract) {
  const Options options = options_of(kLeast);
  EXPECT_EQ(options.listen.at(0).text, "0.0.0.0:8443");
  EXPECT_EQ(options.pairs.at(0).cert, "c.pem");
  EXPECT_EQ(options.pairs.at(0).key, "k.pem");
  EXPECT_EQ(options.ca.at(0).file, "ca.pem");
  EXPECT_TRUE(options.crl.empty());
  EXPECT_EQ(options.crl_expired, Options::CrlExpired::kRefuse);
  EXPECT_EQ(options.client_eku, ktls::ClientEku::kIfPresent);
  EXPECT_FALSE(options.partial_chain);
  EXPECT_THAT(options.allow, ElementsAre("dns:a.b.c"));
  EXPECT_FALSE(options.allow_any_verified);
  EXPECT_EQ(options.policy, "");
  EXPECT_EQ(options.discovery, "d.json");
  EXPECT_FALSE(options.discovery_allow_empty);
  EXPECT_EQ(options.discovery_max_removal_percent, 100U);
  ASSERT_EQ(options.admin.size(), 1U);
  EXPECT_EQ(options.admin[0].address.to_string(), "127.0.0.1:9464");
  EXPECT_FALSE(options.admin_expose_all);
  EXPECT_EQ(options.shards, std::nullopt);
  EXPECT_EQ(options.records, RecordsWanted::kAuto);
  EXPECT_EQ(options.min_tls, ktls::RecordVersion::kTls13);
  EXPECT_TRUE(options.ciphersuites.empty());
  EXPECT_EQ(options.groups, "");
  EXPECT_EQ(options.tickets, 1U);
  EXPECT_EQ(options.ticket_keys, "");
  EXPECT_EQ(options.ticket_max_age, 8h);
  EXPECT_TRUE(options.openssl_tuning);
  EXPECT_TRUE(options.confine);
  EXPECT_EQ(options.handshake_timeout, 10s);
  EXPECT_EQ(options.connect_timeout, 3s);
  EXPECT_EQ(options.half_close_timeout, 60s);
  EXPECT_EQ(options.drain_timeout, 30s);
  EXPECT_EQ(options.idle_timeout, 0s);
  EXPECT_EQ(options.max_lifetime, 0s);
  EXPECT_EQ(options.drain_delay, 0s);
  EXPECT_EQ(options.max_connections, std::nullopt);
  EXPECT_EQ(options.max_handshakes, 512U);
  EXPECT_EQ(options.handshake_memory, 64U << 20);
  EXPECT_EQ(options.user, "");
  EXPECT_EQ(options.log_format, LogFormat::kJson);
  EXPECT_EQ(options.log_level, LogLevel::kInfo);
  EXPECT_FALSE(options.check);
}

TEST(Options, TakeEveryFlag) {
  const Options options = options_of({"--listen=127.0.0.1:1",
                                      "--listen",
                                      "[::1]:2",
                                      "--cert",
                                      "c1",
                                      "--key",
                                      "k1",
                                      "--cert",
                                      "c2",
                                      "--key",
                                      "k2",
                                      "--ca",
                                      "a.org=ca1",
                                      "--ca",
                                      "b.org=ca2",
                                      "--crl",
                                      "r1",
                                      "--crl",
                                      "r2",
                                      "--crl-expired",
                                      "accept",
                                      "--client-eku",
                                      "require",
                                      "--partial-chain",
                                      "--policy",
                                      "p",
                                      "--discovery",
                                      "d",
                                      "--discovery-allow-empty",
                                      "--discovery-max-removal",
                                      "50",
                                      "--admin",
                                      "[::]:0",
                                      "--admin",
                                      "unix:/run/s.sock,mode=0660",
                                      "--admin-expose-all",
                                      "--shards",
                                      "4",
                                      "--records",
                                      "userspace",
                                      "--min-tls",
                                      "1.2",
                                      "--ciphersuites",
                                      "TLS_AES_256_GCM_SHA384",
                                      "--groups",
                                      "X25519",
                                      "--tickets",
                                      "0",
                                      "--ticket-keys",
                                      "t",
                                      "--ticket-max-age",
                                      "1h",
                                      "--openssl-tuning",
                                      "off",
                                      "--confine",
                                      "off",
                                      "--handshake-timeout",
                                      "1s",
                                      "--connect-timeout",
                                      "2s",
                                      "--half-close-timeout",
                                      "3s",
                                      "--drain-timeout",
                                      "4s",
                                      "--idle-timeout",
                                      "5s",
                                      "--max-lifetime",
                                      "6s",
                                      "--drain-delay",
                                      "7s",
                                      "--max-connections",
                                      "20000",
                                      "--max-handshakes",
                                      "8",
                                      "--handshake-memory",
                                      "2M",
                                      "--busy-poll",
                                      "50",
                                      "--wake-coalescing",
                                      "20",
                                      "--user",
                                      "nobody",
                                      "--log-format",
                                      "text",
                                      "--log-level",
                                      "debug",
                                      "--check"});
  EXPECT_EQ(options.listen.at(1).text, "[::1]:2");
  EXPECT_EQ(options.pairs.at(1).cert, "c2");
  EXPECT_EQ(options.pairs.at(1).key, "k2");
  EXPECT_EQ(options.ca.at(1).trust_domain, "b.org");
  EXPECT_THAT(options.crl, ElementsAre("r1", "r2"));
  EXPECT_EQ(options.crl_expired, Options::CrlExpired::kAccept);
  EXPECT_EQ(options.client_eku, ktls::ClientEku::kRequire);
  EXPECT_TRUE(options.partial_chain);
  EXPECT_EQ(options.policy, "p");
  EXPECT_TRUE(options.discovery_allow_empty);
  EXPECT_EQ(options.discovery_max_removal_percent, 50U);
  ASSERT_EQ(options.admin.size(), 2U);
  EXPECT_EQ(options.admin[0].text, "[::]:0");
  EXPECT_EQ(options.admin[1].mode, 0660U);
  EXPECT_TRUE(options.admin_expose_all);
  EXPECT_EQ(options.shards, 4U);
  EXPECT_EQ(options.records, RecordsWanted::kUserspace);
  EXPECT_EQ(options.min_tls, ktls::RecordVersion::kTls12);
  EXPECT_THAT(options.ciphersuites, ElementsAre("TLS_AES_256_GCM_SHA384"));
  EXPECT_EQ(options.groups, "X25519");
  EXPECT_EQ(options.tickets, 0U);
  EXPECT_EQ(options.ticket_keys, "t");
  EXPECT_EQ(options.ticket_max_age, 1h);
  EXPECT_FALSE(options.openssl_tuning);
  EXPECT_FALSE(options.confine);
  EXPECT_EQ(options.handshake_timeout, 1s);
  EXPECT_EQ(options.connect_timeout, 2s);
  EXPECT_EQ(options.half_close_timeout, 3s);
  EXPECT_EQ(options.drain_timeout, 4s);
  EXPECT_EQ(options.idle_timeout, 5s);
  EXPECT_EQ(options.max_lifetime, 6s);
  EXPECT_EQ(options.drain_delay, 7s);
  EXPECT_EQ(options.max_connections, 20'000U);
  EXPECT_EQ(options.max_handshakes, 8U);
  EXPECT_EQ(options.handshake_memory, 2U << 20);
  EXPECT_EQ(options.busy_poll_us, 50U);
  EXPECT_EQ(options.wake_coalescing_us, 20U);
  EXPECT_EQ(options.user, "nobody");
  EXPECT_EQ(options.log_format, LogFormat::kText);
  EXPECT_EQ(options.log_level, LogLevel::kDebug);
  EXPECT_TRUE(options.check);
}

TEST(Options, SayWhichConnectionsGetALine) {
  const LoggedConnections all = options_of(kLeast).logged_connections;
  EXPECT_EQ(all.which, LogConnections::kAll);
  EXPECT_EQ(all.one_in, 1U);
  EXPECT_TRUE(all.probes);
  const LoggedConnections few = options_of(with({"--log-connections", "refused", "--log-sample",
                                                 "100", "--log-probes", "off"}))
                                    .logged_connections;
  EXPECT_EQ(few.which, LogConnections::kRefused);
  EXPECT_EQ(few.one_in, 100U);
  EXPECT_FALSE(few.probes);
  EXPECT_THAT(error_of(with({"--log-connections", "refusd"})),
              HasSubstr("is not one of all|refused|none; did you mean 'refused'?"));
  EXPECT_THAT(error_of(with({"--log-sample", "0"})),
              HasSubstr("--log-sample '0' is not a whole number from 1 to 1000000"));
}

TEST(Options, RefuseToStartWithoutWhatIsRequired) {
  for (const char* flag : {"--listen", "--ca", "--discovery"}) {
    EXPECT_THAT(error_of(without(flag)), AllOf(HasSubstr(flag), HasSubstr("required")));
  }
  EXPECT_THAT(error_of(without("--allow")),
              HasSubstr("one of --allow, --allow-any-verified and --policy is required"));
}

TEST(Options, RefuseTwoKindsOfRules) {
  EXPECT_THAT(error_of(with({"--allow-any-verified"})),
              HasSubstr("--allow-any-verified 'true' excludes --allow"));
  EXPECT_THAT(error_of(with({"--policy", "p.json"})), HasSubstr("--policy 'p.json' excludes"));
}

TEST(Options, OfRoutesAreForThoseWithoutAPolicyFile) {
  const Options options = options_of(with({"--alpn", "h2:x", "--truncation", "close"}));
  EXPECT_EQ(options.alpn, (std::vector<std::string>{"h2", "x"}));
  EXPECT_EQ(options.truncation, Truncation::kClose);
  for (const auto& [flag, value] :
       {std::pair{"--alpn", "h2"}, std::pair{"--truncation", "reset"}}) {
    Words words = without("--allow");
    words.insert(words.end(), {"--policy", "p.json", flag, value});
    EXPECT_THAT(error_of(words), HasSubstr("--policy is given"));
  }
}

TEST(Options, RefuseCertificatesWithoutAKey) {
  EXPECT_THAT(error_of(with({"--cert", "c2.pem"})),
              HasSubstr("--cert and --key go in pairs: there are 2 and 1"));
  EXPECT_THAT(error_of(without("--cert")), HasSubstr("go in pairs: there are 0 and 1"));
}

TEST(Options, RefuseUnknownFlags) {
  EXPECT_THAT(error_of(with({"--zoned", "x"})), HasSubstr("--zoned unknown flag"));
}

// The label of its metrics is the whole text.
TEST(Options, TakeAListenerOfPostgresql) {
  const Options options = options_of(with({"--listen", "[::1]:5432,starttls=postgresql"}));
  EXPECT_FALSE(options.listen.at(0).starttls_postgresql);
  EXPECT_TRUE(options.listen.at(1).starttls_postgresql);
  EXPECT_EQ(options.listen.at(1).text, "[::1]:5432,starttls=postgresql");
  EXPECT_EQ(options.listen.at(1).address.to_string(), "[::1]:5432");
}

TEST(Options, RefuseOtherSettingsOfListeners) {
  EXPECT_THAT(error_of(with({"--listen", "127.0.0.1:1,starttls=smtp"})),
              HasSubstr("has starttls= of another protocol than postgresql"));
  EXPECT_THAT(error_of(with({"--listen", "127.0.0.1:1,starttls=postgresql,mode=0600"})),
              HasSubstr("has starttls= of another protocol than postgresql"));
  EXPECT_THAT(error_of(with({"--listen", "127.0.0.1:1,tls"})),
              HasSubstr("has something else than starttls=postgresql behind it"));
  EXPECT_THAT(error_of(with({"--listen", "127.0.0.1:port,starttls=postgresql"})),
              HasSubstr("has no port from 0 to 65535"));
  EXPECT_THAT(
      error_of(with({"--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1,starttls=postgresql"})),
      HasSubstr("overlaps 127.0.0.1:1"));
  EXPECT_THAT(error_of(with({"--admin", "127.0.0.1:1,starttls=postgresql"})),
              HasSubstr("has no port from 0 to 65535"));
}

const Words kEgress{
    "--egress", "127.0.0.1:8000=orders", "--ca", "ca.pem", "--discovery", "d.json", "--policy",
    "p.json"};

Words egress_with(const Words& more) {
  Words words = kEgress;
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Options, NeedACertificateForListenersOfTlsOnly) {
  const Options options = options_of(kEgress);
  EXPECT_TRUE(options.listen.empty());
  EXPECT_TRUE(options.pairs.empty());
  ASSERT_EQ(options.egress.size(), 1U);
  EXPECT_EQ(options.egress[0].text, "127.0.0.1:8000=orders");
  EXPECT_EQ(options.egress[0].address.to_string(), "127.0.0.1:8000");
  EXPECT_EQ(options.egress[0].route, "orders");
  EXPECT_THAT(error_of(egress_with({"--listen", "0.0.0.0:1"})),
              HasSubstr("a certificate is required"));
  EXPECT_THAT(error_of({"--ca", "ca.pem"}), HasSubstr("one of --listen and --egress is required"));
}

TEST(Options, TakeUnixSocketsOfApplications) {
  const Options options = options_of(egress_with(
      {"--egress", "unix:/run/a.sock=a,b=c", "--egress",
       "unix:/run/b.sock=b,group=shop,mode=0660,owner=1000", "--egress", "[::1]:1=v6"}));
  ASSERT_EQ(options.egress.size(), 4U);
  EXPECT_EQ(options.egress[1].address.to_string(), "unix:/run/a.sock");
  EXPECT_EQ(options.egress[1].route, "a,b=c");
  EXPECT_EQ(options.egress[1].mode, 0600U);
  EXPECT_EQ(options.egress[1].owner, "");
  EXPECT_EQ(options.egress[2].route, "b");
  EXPECT_EQ(options.egress[2].mode, 0660U);
  EXPECT_EQ(options.egress[2].owner, "1000");
  EXPECT_EQ(options.egress[2].group, "shop");
}

TEST(Options, RefuseEgressThatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {
      {"127.0.0.1:1", "is not ADDR:PORT=ROUTE or unix:/PATH=ROUTE"},
      {"localhost:1=a", "needs a numeric address"},
      {"127.0.0.1:1=", "names no route behind the '='"},
      {"unix:run/a=a", "is not unix:/PATH=ROUTE"},
      {"unix:@a=a", "is not unix:/PATH=ROUTE"},
      {"unix:/a=a,mode=0999", "has no mode such as"},
      {"unix:/a=a,owner=", "names no owner"},
      {"unix:/a=a,group=", "names no group"},
      {"unix:/a=a,mode=0600,mode=0660", "has mode= twice"},
      {"unix:/a=a,owner=x,mode=0600,owner=y", "has owner= twice"},
      {"unix:/a=a,group=x,group=x", "has group= twice"},
      {"unix:/a=,mode=0600", "names no route behind the '='"},
      {"127.0.0.1:8000=users", "overlaps 127.0.0.1:8000=orders"},
      {"127.0.0.1:8000=orders", "is given twice"},
      {"0.0.0.0:1=a", "is not loopback"},
  };
  for (const auto& [value, what] : wrong)
    EXPECT_THAT(error_of(egress_with({"--egress", value})), HasSubstr(what)) << value;
  EXPECT_THAT(error_of(egress_with({"--egress", "unix:/a=a", "--egress", "unix:/a=b"})),
              HasSubstr("overlaps unix:/a=a"));
  EXPECT_THAT(error_of(egress_with({"--listen", "127.0.0.1:8000", "--credentials", "c"})),
              HasSubstr("overlaps 127.0.0.1:8000"));
  EXPECT_THAT(error_of(with({"--egress", "127.0.0.1:1=a"})), HasSubstr("needs --policy"));
  const std::string longest = "unix:/" + std::string(106, 'x');
  EXPECT_EQ(error_of(egress_with({"--egress", longest + "=a"})), "no error");
  EXPECT_THAT(error_of(egress_with({"--egress", longest + "x=a"})),
              HasSubstr("with a path of at most 107 bytes"));
  EXPECT_EQ(error_of(egress_with({"--egress", "0.0.0.0:1=a", "--egress-expose"})), "no error");
}

TEST(Options, TakeTheNameOfOurZone) {
  EXPECT_EQ(options_of(with({})).zone, "");
  EXPECT_EQ(options_of(with({"--zone", "eu-1 a"})).zone, "eu-1 a");
  EXPECT_THAT(error_of(with({"--zone", ""})), HasSubstr("--zone is empty"));
  EXPECT_THAT(error_of(with({"--zone", "a\tb"})), HasSubstr("has 1 to 255 bytes"));
}

TEST(Options, TakeNetworksOfProxies) {
  const Options options =
      options_of(with({"--accept-proxy", "10.0.0.0/8", "--accept-proxy", "::1"}));
  ASSERT_EQ(options.accept_proxy.size(), 2U);
  EXPECT_EQ(options.accept_proxy[0].to_string(), "10.0.0.0/8");
  EXPECT_EQ(options.accept_proxy[1].to_string(), "::1/128");
  EXPECT_TRUE(options_of(with({})).accept_proxy.empty());
  EXPECT_THAT(error_of(with({"--accept-proxy", "10.0.0.1/8"})),
              HasSubstr("--accept-proxy '10.0.0.1/8' has an address with bits set behind"));
  EXPECT_THAT(error_of(with({"--accept-proxy", "proxy.example.org"})),
              HasSubstr("is not an IP address or a network"));
}

TEST(Options, RefuseTheSameListenerTwice) {
  EXPECT_THAT(error_of(with({"--listen", "0.0.0.0:8443"})),
              HasSubstr("--listen '0.0.0.0:8443' is given twice"));
}

// As errors name them.
std::string quoted(const std::string& flag, const std::string& value) {
  return flag + " '" + value + "'";
}

TEST(Options, NameFlagAndValueOfABadValue) {
  const std::vector<std::pair<std::string, std::string>> bad{{"--listen", "localhost:1"},
                                                             {"--admin", "9464"},
                                                             {"--shards", "0"},
                                                             {"--shards", "1025"},
                                                             {"--shards", "two"},
                                                             {"--max-connections", "0"},
                                                             {"--max-connections", "-1"},
                                                             {"--max-handshakes", "0"},
                                                             {"--handshake-memory", "1023K"},
                                                             {"--handshake-memory", "64MB"},
                                                             {"--busy-poll", "1001"},
                                                             {"--busy-poll", "50us"},
                                                             {"--wake-coalescing", "1001"},
                                                             {"--discovery-max-removal", "101"},
                                                             {"--tickets", "9"},
                                                             {"--idle-timeout", "10"},
                                                             {"--ticket-max-age", "169h"},
                                                             {"--ticket-max-age", "500ms"},
                                                             {"--crl-expired", "maybe"},
                                                             {"--client-eku", "maybe"},
                                                             {"--records", "magic"},
                                                             {"--min-tls", "1.1"},
                                                             {"--openssl-tuning", "true"},
                                                             {"--confine", "maybe"},
                                                             {"--log-format", "xml"},
                                                             {"--log-level", "loud"},
                                                             {"--ciphersuites", "RC4"},
                                                             {"--groups", ":"},
                                                             {"--ca", "x.org="}};
  for (const auto& [flag, value] : bad) {
    EXPECT_THAT(error_of(with({flag, value})), HasSubstr(quoted(flag, value)));
  }
}

TEST(Options, AskForAReloadAndNothingElse) {
  const Parsed asked = parse_words({"--reload", "4711"});
  ASSERT_TRUE(asked);
  EXPECT_EQ(std::get<ReloadRequest>(*asked).gateway, 4711);
  for (const std::string none : {"0", "-1", "x", "4294967296", "2147483648"}) {
    EXPECT_THAT(error_of({"--reload=" + none}), HasSubstr("--reload '" + none + "'"));
  }
  EXPECT_THAT(error_of(with({"--reload", "4711"})), HasSubstr("takes no other flag beside it"));
}

TEST(Options, AllErrorsAreToldAtOnce) {
  EXPECT_EQ(error_of({"--listen",    "nowhere",   "--listen", "127.0.0.1:1", "--listen",
                      "127.0.0.1:1", "--cert",    "c.pem",    "--key",       "k.pem",
                      "--discovery", "d.json",    "--allow",  "dns:a.b",     "--shards",
                      "none",        "--records", "kernal",   "--no-such",   "--tickets"}),
            "command line: --no-such unknown flag\n"
            "command line: --tickets the required argument for option '--tickets' is missing\n"
            "command line: --listen 'nowhere' lacks a port: ADDR:PORT or [IPv6]:PORT\n"
            "command line: --listen '127.0.0.1:1' is given twice\n"
            "command line: --ca is required: --ca [TRUST-DOMAIN=]PATH\n"
            "command line: --records 'kernal' is not one of auto|kernel|userspace; did you mean "
            "'kernel'?\n"
            "command line: --shards 'none' is not a whole number from 1 to 1024");
}

TEST(Options, KeepWhatIsUnderstoodOfARefusedCommandLine) {
  const Parsed parsed = parse_words(with({"--shards", "none", "--zone", "a"}));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().understood.zone, "a");
  EXPECT_EQ(parsed.error().understood.listen.size(), 1U);
}

// Nor is what it was meant to be then missing.
TEST(Options, AMisspeltFlagIsToldTheNearest) {
  Words words = kLeast;
  words[0] = "--lsiten";
  EXPECT_EQ(error_of(words), "command line: --lsiten unknown flag; did you mean '--listen'?");
  words[1] = "8443";
  EXPECT_THAT(error_of(words), HasSubstr("\ncommand line: --listen '8443' lacks a port"));
  EXPECT_EQ(error_of(with({"--chekc"})),
            "command line: --chekc unknown flag; did you mean '--check'?");
  EXPECT_EQ(error_of(with({"--log_level=info"})),
            "command line: --log_level unknown flag; did you mean '--log-level'?");
  EXPECT_EQ(error_of(with({"-zone"})),
            "command line: '-zone' unexpected argument, flags have --: did you mean '--zone'?");
}

TEST(Options, ADashAndAnHAskForHelp) {
  const Parsed parsed = parse_words({"-h"});
  ASSERT_TRUE(parsed);
  EXPECT_THAT(std::get<Information>(*parsed).text, HasSubstr("usage: sallyport"));
}

TEST(Options, AFlagWithoutItsValueIsNotMissingToo) {
  for (const char* const flag :
       {"--alpn", "--zone", "--policy", "--ticket-max-age", "--against", "--explain", "--ca"})
    EXPECT_THAT(
        error_of(with({flag})),
        HasSubstr(std::string("the required argument for option '") + flag + "' is missing"));
}

TEST(Options, RehearseAgainstAGateway) {
  const auto against = options_of(with({"--check", "--against", "http://127.0.0.1:9464"})).against;
  ASSERT_TRUE(against);
  EXPECT_EQ(against->host, "127.0.0.1");
  EXPECT_EQ(against->port, "9464");
  EXPECT_THAT(error_of(with({"--against", "http://127.0.0.1:9464"})),
              HasSubstr("--against 'http://127.0.0.1:9464' goes with --check"));
  EXPECT_THAT(error_of(with({"--check", "--against", "9464"})),
              HasSubstr("is not http://HOST:PORT or unix:/PATH"));
}

TEST(Options, ExplainAClient) {
  const Options options =
      options_of(with({"--explain", "client.pem", "--sni", "a.b", "--alpn", "h2:http/1.1"}));
  ASSERT_TRUE(options.explain);
  EXPECT_EQ(options.explain->certificates, "client.pem");
  EXPECT_EQ(options.explain->sni, "a.b");
  EXPECT_THAT(options.explain->alpn, ElementsAre("h2", "http/1.1"));
  EXPECT_FALSE(options.alpn) << "of routes";

  const Options both = options_of(with({"--alpn", "h2", "--explain", "c", "--alpn", "none"}));
  EXPECT_THAT(*both.alpn, ElementsAre("h2"));
  EXPECT_TRUE(both.explain->alpn.empty());

  EXPECT_FALSE(options_of(kLeast).explain);
  EXPECT_THAT(error_of(with({"--sni", "a.b"})), HasSubstr("--sni 'a.b' goes with --explain"));
  EXPECT_THAT(error_of(with({"--explain", "c", "--check"})), HasSubstr("excludes --check"));
  EXPECT_THAT(error_of(with({"--explain", ""})), HasSubstr("is empty"));
  EXPECT_THAT(error_of(with({"--explain", "c", "--alpn", "h2", "--alpn", "h2", "--alpn", "h2"})),
              HasSubstr("--alpn 'h2' is given twice"));
}

TEST(Options, RefuseWhatTheyDoNotKnow) {
  EXPECT_THAT(error_of(with({"--bogus"})), HasSubstr("--bogus unknown flag"));
  EXPECT_THAT(error_of(with({"--discovery-allow"})), HasSubstr("unknown flag"));  // no guessing
  EXPECT_THAT(error_of(with({"stray"})), HasSubstr("'stray' unexpected argument"));
  EXPECT_THAT(error_of(with({"-x"})), HasSubstr("'-x' unexpected argument"));
  EXPECT_THAT(error_of(with({"--user"})), HasSubstr("--user"));
  EXPECT_THAT(error_of(with({"--check=yes"})), HasSubstr("--check"));
  EXPECT_THAT(error_of(with({"--user", "a", "--user", "b"})),
              HasSubstr("--user 'b' is given twice"));
  EXPECT_THAT(error_of(with({"--user", ""})), HasSubstr("is empty"));
}

TEST(Options, TakeABundleInsteadOfAPairOrBesideIt) {
  const auto files_of = [](const std::vector<std::string>& words) {
    std::vector<std::string> files;
    for (const auto& pair : options_of(words).pairs) files.push_back(pair.cert + " " + pair.key);
    return files;
  };
  std::vector<std::string> alone = kLeast;
  const auto cert = std::ranges::find(alone, "--cert");
  alone.erase(cert, cert + 2);
  const auto key = std::ranges::find(alone, "--key");
  alone.erase(key, key + 2);
  EXPECT_THAT(error_of(alone), HasSubstr("--cert and --key, or --credentials"));
  alone.insert(alone.end(), {"--credentials", "b.pem"});
  EXPECT_THAT(files_of(alone), ElementsAre("b.pem b.pem"));
  EXPECT_THAT(files_of(with({"--credentials", "b.pem"})),
              ElementsAre("b.pem b.pem", "c.pem k.pem"));
  EXPECT_THAT(error_of(with({"--credentials", "b.pem", "--credentials", "b.pem"})),
              HasSubstr("--credentials 'b.pem' is given twice"));
}

TEST(Options, TakeATicketAgeOfZeroAsTheLongest) {
  EXPECT_EQ(options_of(with({"--ticket-max-age", "0"})).ticket_max_age, 7 * 24h);
}

TEST(Options, ShowHelpAndVersionWhateverElseIsWrong) {
  const Parsed help = parse_words({"--bogus", "--help"});
  ASSERT_TRUE(help);
  const std::string text = std::get<Information>(*help).text;
  for (const char* flag : {"--listen",
                           "--cert",
                           "--key",
                           "--credentials",
                           "--ca",
                           "--crl",
                           "--crl-expired",
                           "--client-eku",
                           "--partial-chain",
                           "--allow",
                           "--allow-any-verified",
                           "--policy",
                           "--discovery",
                           "--discovery-allow-empty",
                           "--discovery-max-removal",
                           "--share-port",
                           "--alpn",
                           "--truncation",
                           "--log-connections",
                           "--log-sample",
                           "--log-probes",
                           "--admin",
                           "--admin-expose-all",
                           "--shards",
                           "--records",
                           "--min-tls",
                           "--ciphersuites",
                           "--groups",
                           "--tickets",
                           "--ticket-keys",
                           "--ticket-max-age",
                           "--openssl-tuning",
                           "--confine",
                           "--handshake-timeout",
                           "--connect-timeout",
                           "--half-close-timeout",
                           "--drain-timeout",
                           "--idle-timeout",
                           "--max-lifetime",
                           "--drain-delay",
                           "--max-connections",
                           "--max-handshakes",
                           "--handshake-memory",
                           "--busy-poll",
                           "--wake-coalescing",
                           "--user",
                           "--log-format",
                           "--log-level",
                           "--config",
                           "--check",
                           "--against",
                           "--explain",
                           "--sni",
                           "--reload",
                           "--version",
                           "--help"}) {
    EXPECT_THAT(text, HasSubstr(std::string("  ") + flag + " "));
  }

  const Parsed version = parse_words({"--version"});
  ASSERT_TRUE(version);
  EXPECT_THAT(std::get<Information>(*version).text,
              AllOf(HasSubstr("sallyport "), HasSubstr("OpenSSL 3"), HasSubstr("liburing 2"),
                    HasSubstr("Linux ")));
}

TEST(ConfigFile, GivesFlagsByName) {
  const ConfigFile file(
      "\xef\xbb\xbf# our gateway\n"  // as some editors begin a file
      "listen = 127.0.0.1:1\n"
      "listen=[::1]:2\r\n"
      "\n"
      "  cert = c#1.pem  \n"
      "key = k.pem\n"
      "ca = a.org=ca.pem\n"
      "policy = p.json\n"
      "discovery = d.json\n"
      "discovery-allow-empty = true\n"
      "admin-expose-all = false\n"
      "idle-timeout = 5m");
  const Options options = options_of({"--config", file.path()});
  ASSERT_EQ(options.listen.size(), 2U);
  EXPECT_EQ(options.listen.at(1).text, "[::1]:2");
  EXPECT_EQ(options.pairs.at(0).cert, "c#1.pem");
  EXPECT_EQ(options.ca.at(0).trust_domain, "a.org");
  EXPECT_TRUE(options.discovery_allow_empty);
  EXPECT_FALSE(options.admin_expose_all);
  EXPECT_EQ(options.idle_timeout, 5min);
  EXPECT_EQ(options.config, file.path());
}

TEST(ConfigFile, IsBeatenByTheCommandLine) {
  const ConfigFile file(
      "listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\ncert = c1\nkey = k1\ncert = c2\nkey = k2\n"
      "policy = p.json\nidle-timeout = 5m\nuser = a\n");
  const Options options = options_of(with({"--config", file.path(), "--user", "b"}));
  ASSERT_EQ(options.listen.size(), 1U);
  EXPECT_EQ(options.listen.at(0).text, "0.0.0.0:8443");
  ASSERT_EQ(options.pairs.size(), 1U);  // pairs are decided as a whole
  EXPECT_EQ(options.pairs.at(0).cert, "c.pem");
  EXPECT_EQ(options.policy, "");  // and so is the choice of rules
  EXPECT_EQ(options.user, "b");
  EXPECT_EQ(options.idle_timeout, 5min);
}

TEST(ConfigFile, NamesFileAndLineOfAnError) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"user = a\nbogus = 1\n", ":2: bogus '1' unknown name"},
      {"user = a\nuser\n", ":2: 'user' is not 'name = value'"},
      {"[section]\n", ":1: '[section]' is not"},
      {"\n\nshards = many\n", ":3: --shards 'many' is not a whole number"},
      {"user =\n", ":1: user has no value"},
      {"user = a\nuser = b\n", ":2: --user 'b' is given twice, first at "},
      {"admin-expose-all = maybe\n", ":1: admin-expose-all 'maybe' is neither true nor false"},
      {"config = x\n", ":1: config 'x' belongs on the command line"},
      {"check = true\n", ":1: check 'true' belongs on the command line"},
      {"--user = a\n", ":1: --user 'a' unknown name; did you mean 'user'?"},
      {"usr = a\nuesr = b\n", ":2: uesr 'b' unknown name; did you mean 'user'?"},
      {"idle-timeout = 5\n", ":1: --idle-timeout '5' lacks a unit"},
  };
  for (const auto& [text, expected] : bad) {
    const ConfigFile file(text);
    EXPECT_THAT(error_of(with({"--config", file.path()})), HasSubstr(file.path() + expected));
  }
}

TEST(ConfigFile, IsNamedWhereSomethingIsMissing) {
  const ConfigFile empty("# nothing yet\n");
  const auto missing = [](const std::string& where) {
    return where + ": one of --listen and --egress is required: --listen ADDR:PORT\n" + where +
           ": --ca is required: --ca [TRUST-DOMAIN=]PATH\n" + where +
           ": one of --allow, --allow-any-verified and --policy is required: --allow PATTERN\n" +
           where + ": --discovery is required: --discovery FILE";
  };
  EXPECT_EQ(error_of({"--config", empty.path()}), missing("command line and " + empty.path()));
  EXPECT_EQ(error_of({}), missing("command line"));
}

TEST(ConfigFile, MustBeReadable) {
  EXPECT_THAT(error_of(with({"--config", "/nonexistent/x"})),
              HasSubstr("--config '/nonexistent/x' No such file or directory"));
  EXPECT_THAT(error_of(with({"--config", "/tmp"})), HasSubstr("--config '/tmp'"));
}

}  // namespace
}  // namespace sallyport::gateway
