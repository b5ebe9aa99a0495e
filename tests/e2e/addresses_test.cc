// Listeners and backends of each address family.
#include "tests/e2e/scenario.h"

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

}  // namespace
}  // namespace sallyport::test
