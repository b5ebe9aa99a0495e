// Ten thousand authenticated connections held by one process: each echoes once, none is lost, and
// what an idle one costs is measured as the manual says. Clients and backend are processes of
// their own, because a process has 20,000 descriptors and a relayed connection needs two.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

constexpr int kMany = 10'000;

class TenThousandConnections : public Scenario {
 protected:
  std::string say(Process& clients, const std::string& command, const std::string& answer) {
    clients.write(command + "\n");
    // Ten thousand handshakes on one slow core take longer than patience with a single event.
    std::string line;
    for (int round = 0; round < 10 && line.empty(); ++round) {
      eventually([&] {
        const std::string out = clients.out();
        const auto at = out.find(answer + " ");
        const auto end = at == std::string::npos ? at : out.find('\n', at);
        if (end == std::string::npos) return !clients.running();
        line = out.substr(at, end - at);
        return true;
      });
    }
    return line;
  }
};

TEST_F(TenThousandConnections, EachEchoesOnceAndNoneIsLost) {
  Process backend({CROWD_BACKEND});
  backend.wait_out("the backend's address",
                   [](std::string_view out) { return out.ends_with('\n'); });
  std::string address = backend.out();
  address.pop_back();
  discover({address});
  start({"--shards", "2", "--max-connections", "15000"});
  EXPECT_TRUE(served());  // whatever is allocated on first use is not a connection's
  const long before = gateway->rss_kib();

  Process clients({CROWD_CLIENT, gateway->address(), std::to_string(kMany),
                   dir.write("client.pem", client.chain_pem),
                   dir.write_secret("client.key", client.key_pem)});
  ASSERT_EQ(say(clients, "connect", "connected"), "connected 10000") << gateway->process().err();
  EXPECT_EQ(say(clients, "echo", "echoed"), "echoed 10000");
  EXPECT_EQ(gateway->metrics().sum("connections"), kMany);
  const long held = gateway->rss_kib();
  const double each = static_cast<double>(held - before) / kMany;
  std::printf("[ MEMORY   ] %.2f KiB per idle connection (%ld KiB before, %ld KiB with %d)\n", each,
              before, held, kMany);
  RecordProperty("kib_per_idle_connection", std::to_string(each));
  // Both directions: much less would mean that something is not measured.
  EXPECT_LE(each, 2.3);
  EXPECT_GE(each, 1.75);

  EXPECT_EQ(say(clients, "close", "closed"), "closed 10000");
  gateway->wait_metric("connections_closed_total", {{"reason", "done"}}, kMany + 1);
  const Metrics after = gateway->metrics();
  EXPECT_EQ(after.sum("tls_handshakes_total", {{"result", "success"}}), kMany + 1);
  EXPECT_EQ(after.sum("connections"), 0);
  EXPECT_EQ(gateway->wait_logs(kMany + 1).size(), static_cast<std::size_t>(kMany) + 1);
}

}  // namespace
}  // namespace sallyport::test
