// Listeners and backends of each address family.
#include "tests/e2e/scenario.h"
#include "tests/support/network_namespace.h"

namespace sallyport::test {
namespace {

class Addresses : public Scenario {};

TEST_F(Addresses, BackendOverIpv6) {
  Backend backend(echo(), "[::1]:0");
  start_for(backend);
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("backend"), backend.address());
}

TEST_F(Addresses, BackendOverAUnixSocket) {
  Backend backend(echo(), "unix:" + (dir / "backend.sock").string());
  start_for(backend);
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("backend"), backend.address());
}

TEST_F(Addresses, AUnixSocketWithoutAListenerIsRefused) {
  discover({"unix:" + (dir / "nobody.sock").string()});
  start();
  expect_ended(as(client), "backend_refused", kInternalError);
}

TEST_F(Addresses, BackendByNameIsResolved) {
  Backend backend(echo());
  discover({"localhost:" + backend.port()});
  start();
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
}

TEST_F(Addresses, ListenersOnBothFamiliesAtOnce) {
  Backend backend(echo());
  start_for(backend, {"--listen", "127.0.0.1:0", "--listen", "[::1]:0"});
  EXPECT_TRUE(served());
  {
    TlsClient tls(gateway->address(1), as(client));
    EXPECT_TRUE(tls.echo("over six"));
    tls.close_notify();
    tls.receive_all();
  }
  EXPECT_EQ(gateway->wait_log({{"listener", "[::1]:0"}}).at("reason"), "done");
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("connections_accepted_total", {{"listener", "[::1]:0"}}), 1);
  EXPECT_EQ(metrics.sum("connections_accepted_total", {{"listener", "127.0.0.1:0"}}), 1);
}

TEST_F(Addresses, ATakenPortIsAnErrorThatNamesIt) {
  const Fd taken = listen_on("127.0.0.1:0");
  discover({"127.0.0.1:1"});
  const std::string address = local_address(taken).to_string();
  const Finished finished = run_sallyport(flags({"--listen", address}));
  EXPECT_NE(finished.status, 0);
  EXPECT_NE(finished.err.find(address), std::string::npos) << finished.err;
}

TEST_F(Addresses, ThatThisMachineHasNotAreFoundByTheCheck) {
  discover({"127.0.0.1:1"});
  // TEST-NET-1 of RFC 5737, and IPv6's 2001:db8::/32: no machine has them.
  for (const std::string address : {"192.0.2.1:0", "[2001:db8::1]:0"}) {
    for (const std::string flag : {"--listen", "--admin"}) {
      const Finished checked = run_sallyport(flags({flag, address, "--check"}));
      EXPECT_EQ(checked.status, 2) << flag << address;
      EXPECT_NE(checked.err.find(address + ": Cannot assign"), std::string::npos) << checked.err;
    }
    const Finished started = run_sallyport(flags({"--listen", address}));
    EXPECT_EQ(started.status, 1);
    EXPECT_NE(started.err.find("Cannot assign"), std::string::npos) << started.err;
  }
}

TEST_F(Addresses, OfIpv6SayWhenItIsSwitchedOff) {
  const NetworkNamespace net;
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  NetworkNamespace::set("ipv6.conf.all.disable_ipv6", "1");
  discover({"127.0.0.1:1"});
  const Finished checked = run_sallyport(flags({"--listen", "[::1]:0", "--check"}));
  EXPECT_EQ(checked.status, 2);
  EXPECT_NE(checked.err.find("IPv6 is switched off"), std::string::npos) << checked.err;
  const Finished started = run_sallyport(flags({"--listen", "[::1]:0"}));
  EXPECT_EQ(started.status, 1);
  EXPECT_NE(started.err.find("IPv6 is switched off"), std::string::npos) << started.err;

  const Finished every = run_sallyport(flags({"--listen", "[::]:0", "--check"}));
  EXPECT_NE(every.err.find("IPv6 is switched off"), std::string::npos) << every.err;
}

}  // namespace
}  // namespace sallyport::test
