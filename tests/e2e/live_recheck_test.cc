// What let a live client in holds no longer: its connection ends, and no other.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

constexpr char kBoth[] =
    R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ns/shop/**"]},
      "billing": {"sni": ["billing.example.org"], "allow": ["spiffe://example.org/ns/bank/**"]}}})";
constexpr char kNarrow[] =
    R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ns/shop/**"]},
      "billing": {"sni": ["billing.example.org"], "allow": ["spiffe://example.org/ns/bank/sa/other"]}}})";
constexpr char kOne[] =
    R"({"routes": {
      "orders": {"sni": ["orders.example.org"], "allow": ["spiffe://example.org/ns/shop/**"]}}})";

/// A client of the shop, and one of the bank with a CA, a route and a rule of its own.
class LiveRecheck : public Scenario {
 protected:
  void start_both(std::vector<std::string> given = {}) {
    const std::string ca = dir.write("both.pem", root.cert_pem() + bank_root.cert_pem());
    const std::string crl = dir.write("crl.pem", root.crl() + bank_root.crl());
    const std::string policy = dir.write("policy.json", kBoth);
    if (std::ranges::find(given, "--end-spread") == given.end())
      given.insert(given.end(), {"--end-spread", "1s"});
    given.insert(given.end(), {"--policy", policy, "--ca", ca, "--crl", crl});
    discover({{{backend.address()}, {{"route", "orders"}}},
              {{backend.address()}, {{"route", "billing"}}}});
    start(given);
  }
  TlsClient connect_shop() {
    ClientOptions options = as(client);
    options.sni = "orders.example.org";
    return connect(std::move(options));
  }
  TlsClient connect_bank() {
    ClientOptions options = as(bank);
    options.sni = "billing.example.org";
    return connect(std::move(options));
  }

  void bring_about(const std::string& cause) {
    const double before = reloads("success");
    if (cause == "revoked") {
      dir.replace("crl.pem", root.crl() + bank_root.crl({bank.serial}));
    } else if (cause == "untrusted") {
      dir.replace("both.pem", root.cert_pem());
    } else if (cause == "not_authorized") {
      dir.replace("policy.json", kNarrow);
    } else {
      dir.replace("policy.json", kOne);
    }
    wait_reload("success", before);
  }

  Backend backend{echo()};
  TestAuthority bank_root{"Bank Root"};
  TestCertificate bank = bank_root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/teller"}});
};

struct Ending {
  const char* cause;
  int alert;  ///< 0: close_notify
  friend void PrintTo(const Ending& ending, std::ostream* out) { *out << ending.cause; }
};
class EachEnding : public LiveRecheck, public ::testing::WithParamInterface<Ending> {};

TEST_P(EachEnding, ConcernsTheOneConnectionAndIsTold) {
  // A moment is quiet when nothing moved for a second.
  start_both({"--end-spread", GetParam().alert == 0 ? "8s" : "1s"});
  TlsClient shop = connect_shop();
  TlsClient bank_client = connect_bank();
  ASSERT_TRUE(shop.echo("hello"));
  ASSERT_TRUE(bank_client.echo("hello"));
  bring_about(GetParam().cause);
  bank_client.receive_all();
  EXPECT_EQ(bank_client.alert(), GetParam().alert);
  const LogLine line = gateway->wait_log({{"reason", GetParam().cause}});
  EXPECT_EQ(line.at("identity"), "spiffe://example.org/ns/bank/sa/teller");
  EXPECT_EQ(line.at("records"), records_model());
  EXPECT_TRUE(shop.echo("still here"));
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("connections_closed_total", {{"reason", GetParam().cause}}), 1);
  EXPECT_EQ(metrics.sum("connections"), 1);
}

TEST_P(EachEnding, IsKeptOnDemand) {
  start_both({"--keep-live", GetParam().cause});
  TlsClient bank_client = connect_bank();
  ASSERT_TRUE(bank_client.echo("hello"));
  bring_about(GetParam().cause);
  gateway->wait_metric("connections_kept", {{"cause", GetParam().cause}}, 1);
  EXPECT_NE(gateway->get("/connections").body.find("\"kept\":\"" + std::string(GetParam().cause)),
            std::string::npos);
  EXPECT_TRUE(bank_client.echo("still here"));
  TlsClient again = connect_bank();
  again.receive_all();
  EXPECT_NE(again.end(), TlsEnd::kCloseNotify) << "handshakes are refused all the same";
  bank_client.close_notify();
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("kept"), GetParam().cause);
}

TEST_P(EachEnding, ComesInTheMiddleOfATransferBehindWholeRecords) {
  start_both({"--end-spread", "0"});
  TlsClient bank_client = connect_bank();
  const std::string some(100'000, 'x');
  ASSERT_TRUE(bank_client.echo(some));
  // More than the buffers on the way take: the echo of it is under way when the end comes.
  const std::string much(8'000'000, 'y');
  bank_client.hold(much);
  bank_client.flush_some();
  bring_about(GetParam().cause);
  const std::string got = bank_client.receive_all();
  EXPECT_EQ(got.find_first_not_of('y'), std::string::npos);
  if (GetParam().alert != 0) {
    EXPECT_EQ(bank_client.alert(), GetParam().alert);
  } else {
    EXPECT_EQ(bank_client.end(), TlsEnd::kTruncated);
  }
  gateway->wait_log({{"reason", GetParam().cause}});
}

INSTANTIATE_TEST_SUITE_P(Live, EachEnding,
                         ::testing::Values(Ending{"revoked", kCertificateRevoked},
                                           Ending{"untrusted", kUnknownCa},
                                           Ending{"not_authorized", kAccessDenied},
                                           Ending{"route_gone", 0}),
                         [](const auto& info) { return std::string(info.param.cause); });

TEST_F(LiveRecheck, EndsAreSpreadOverTheirTime) {
  start_both({"--end-spread", "2s"});
  std::vector<TlsClient> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(connect_bank());
    ASSERT_TRUE(clients.back().echo("hello"));
  }
  bring_about("revoked");
  for (TlsClient& each : clients) {
    each.receive_all();
    EXPECT_EQ(each.alert(), kCertificateRevoked);
  }
  std::set<std::string> moments;
  for (const LogLine& line : gateway->wait_logs(clients.size())) {
    moments.insert(line.at("time").substr(0, std::string("2026-01-01T00:00:00.0").size()));
  }
  EXPECT_GT(moments.size(), 5U) << "tenths of a second";
}

TEST_F(LiveRecheck, EndsAConnectionBeforeItsChainExpires) {
  // A tenth of its lifetime before at most: within the last seven minutes, which have begun.
  bank = bank_root.issue({.spiffe = {"spiffe://example.org/ns/bank/sa/teller"},
                          .not_before = std::chrono::minutes(-60),
                          .not_after = std::chrono::seconds(10)});
  start_both();
  TlsClient bank_client = connect_bank();
  ASSERT_TRUE(bank_client.echo("hello"));
  bank_client.receive_all();
  EXPECT_EQ(bank_client.end(), TlsEnd::kCloseNotify);
  const LogLine line = gateway->wait_log({{"reason", "expired"}});
  EXPECT_EQ(line.at("identity"), "spiffe://example.org/ns/bank/sa/teller");
}

/// Sets the machine's clock for as long as it lives.
class MovedClock {
 public:
  explicit MovedClock(std::chrono::seconds by) : by_(by) { move(by_); }
  ~MovedClock() { move(-by_); }
  MovedClock(const MovedClock&) = delete;
  MovedClock& operator=(const MovedClock&) = delete;

 private:
  static void move(std::chrono::seconds by) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += by.count();
    EXPECT_EQ(::clock_settime(CLOCK_REALTIME, &now), 0);
  }
  std::chrono::seconds by_;
};

// Of tests/vm/run: its clock is its own.
bool is_guest() {
  std::ifstream file("/proc/cmdline");
  std::string line;
  std::getline(file, line);
  return line.find("expect_tls=") != std::string::npos;
}

TEST_F(LiveRecheck, FollowsTheClockOfTheMachine) {
  if (!is_guest()) GTEST_SKIP() << "sets the machine's clock: in a guest only";
  server = root.issue({.dns = {"orders.example.org"}, .not_after = std::chrono::hours(24 * 9)});
  client = root.issue({.spiffe = {kWeb}, .not_after = std::chrono::hours(24 * 9)});
  bank = bank_root.issue(
      {.spiffe = {"spiffe://example.org/ns/bank/sa/teller"}, .not_after = std::chrono::hours(12)});
  start_both({"--crl-expired", "accept"});
  TlsClient shop = connect_shop();
  TlsClient bank_client = connect_bank();
  ASSERT_TRUE(shop.echo("hello"));
  ASSERT_TRUE(bank_client.echo("hello"));
  {
    const MovedClock back(-std::chrono::hours(24));
    gateway->get("/healthz");
    EXPECT_TRUE(bank_client.echo("before it was issued"));
  }
  {
    const MovedClock forwards(std::chrono::hours(24));
    bank_client.receive_all();
    gateway->wait_log({{"reason", "expired"}});
    EXPECT_TRUE(shop.echo("still here"));
  }
  TlsClient again = connect_bank();
  EXPECT_TRUE(again.echo("hello again"));
}

TEST_F(LiveRecheck, KeepingWhatSecurityEndsIsWarnedOf) {
  start_both({"--keep-live", "revoked", "--keep-live", "expired"});
  gateway->wait_err({"--keep-live revoked"});
}

}  // namespace
}  // namespace sallyport::test
