// The gateway's network is cut while no traffic would tell: its backends are as well as before, so
// checks mark none of them down, say that they know nothing, and go on once the network is back.
#include <deque>
#include <ostream>
#include <string>
#include <vector>

#include "tests/e2e/fault_scenario.h"
#include "tests/support/fallible_endpoint.h"
#include "tests/support/network_namespace.h"

namespace sallyport::test {
namespace {

struct Cut {
  const char* name;
  const char* before;  // commands of ip(8): before the gateway starts, or null
  const char* cut;     // one, so that no endpoint is heard while another is not
  const char* mend;
};

void PrintTo(const Cut& cut, std::ostream* out) {
  *out << cut.name;
}

constexpr Cut kCuts[] = {
    // The loopback takes what is sent there, and is not that address.
    {"Silence", "route add 10.77.1.0/24 dev lo", "addr del 10.77.1.1/32 dev lo",
     "addr add 10.77.1.1/32 dev lo"},
    {"NoRoute", nullptr, "addr del 10.77.1.1/32 dev lo", "addr add 10.77.1.1/32 dev lo"},
    {"LinkDown", nullptr, "link set lo down", "link set lo up"},
};

// Enough for one to be heard again while the check of another is still on its way from before. In
// 900 ms no SYN is repeated.
constexpr char kBackends = '6';

class NetworkCut : public FaultScenario, public ::testing::WithParamInterface<Cut> {
 protected:
  int told(const std::string& message) const {
    int count = 0;
    for (const LogLine& line : gateway->operational_log())
      count += line.contains("message") && line.at("message") == message ? 1 : 0;
    return count;
  }
};

TEST_P(NetworkCut, MarksNothingDown) {
  const NetworkNamespace net;
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  NetworkNamespace::ip("addr add 10.77.1.1/32 dev lo");
  if (GetParam().before != nullptr) NetworkNamespace::ip(GetParam().before);
  std::deque<Backend> backends;
  std::vector<std::string> targets;
  for (char name = '1'; name <= kBackends; ++name)
    targets.push_back(backends.emplace_back(named_echo(name), "10.77.1.1:0").address());
  discover(targets);
  start_routes({{"orders", R"("end-when-down": true, "health": {"type": "send-expect",
                              "send": "PING", "expect": "PING", "interval": "100ms",
                              "timeout": "900ms", "rise": 1, "fall": 3})"}},
               {"--admin", "unix:" + (dir / "admin.sock").string()});
  const auto all = static_cast<double>(targets.size());
  const auto healthy = [this] { return of("backend_healthy", "orders"); };
  wait_until("all are up", [&] { return healthy() == all; });
  TlsClient quiet = connect();
  ASSERT_EQ(quiet.exchange("x", 2).size(), 2U) << "behind the backend's name";

  NetworkNamespace::ip(GetParam().cut);
  gateway->wait_err({"no check is answered over the network: endpoints keep their state"});
  wait_until("nothing is known of any",
             [&] { return !gateway->metrics().has("backend_healthy", {{"route", "orders"}}); });
  EXPECT_NE(gateway->get("/routes").body.find(R"("health": "unknown")"), std::string::npos);
  EXPECT_EQ(of("backend_up", "orders"), all) << "they keep their state";

  NetworkNamespace::ip(GetParam().mend);
  gateway->wait_err({"checks are answered again"});
  wait_until("all are known to be up", [&] { return healthy() == all; });
  EXPECT_EQ(told("endpoint is down"), 0);
  EXPECT_EQ(told("no check is answered over the network: endpoints keep their state"), 1);
  EXPECT_TRUE(quiet.echo("it has felt nothing"));
  quiet.close_notify();
  quiet.receive_all();
  const Visit after = visit(gateway->address(), to("orders"), canary_payload());
  EXPECT_TRUE(after.whole) << after.trouble;
  finish();  // in the namespace
}

INSTANTIATE_TEST_SUITE_P(By, NetworkCut, ::testing::ValuesIn(kCuts),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sallyport::test
