// Two gateways on one address: the second one is refused, and says so before it takes any client,
// unless it was told to take over (--share-port).
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "tests/e2e/scenario.h"
#include "tests/support/network_namespace.h"

namespace sallyport::test {
namespace {

class SharedAddress : public Scenario {
 protected:
  // Serves clients while `beside` runs, each on a connection of its own; how many there were.
  int serve_beside(const std::function<void()>& beside) const {
    std::atomic<bool> over = false;
    std::thread other([&] {
      beside();
      over = true;
    });
    int served_clients = 0;
    for (; !over; ++served_clients) EXPECT_TRUE(served());
    other.join();
    return served_clients;
  }
};

TEST_F(SharedAddress, InUseIsAnErrorThatNamesIt) {
  Backend backend(echo());
  start_for(backend, {"--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--shards", "2"});
  for (const std::size_t listener : {0, 1}) {
    const std::string& address = gateway->address(listener);
    const Finished second = run_sallyport(flags({"--listen", address}));
    EXPECT_EQ(second.status, 1);
    EXPECT_NE(second.err.find("cannot listen"), std::string::npos) << second.err;
    EXPECT_NE(second.err.find(address), std::string::npos) << second.err;
    EXPECT_NE(second.err.find("Address already in use"), std::string::npos) << second.err;
    EXPECT_TRUE(served());
  }
}

// A start that failed late used to have listened for a while: a third of the clients were stalled
// until it gave up, and then reset.
TEST_F(SharedAddress, IsLeftAloneByAStartThatFails) {
  Backend backend(echo());
  start_for(backend, {"--shards", "2"});
  const std::string address = gateway->address();
  const int clients = serve_beside([&] {
    for (int i = 0; i < 5; ++i) {
      const Finished taken =
          run_sallyport(flags({"--listen", address, "--share-port", "--admin", gateway->admin()}));
      EXPECT_EQ(taken.status, 1);
      EXPECT_NE(taken.err.find(gateway->admin()), std::string::npos) << taken.err;
      const Finished unknown = run_sallyport(
          flags({"--listen", address, "--share-port", "--user", "no-such-user-here"}));
      EXPECT_NE(unknown.status, 0);
      EXPECT_NE(unknown.err.find("no-such-user-here"), std::string::npos) << unknown.err;
    }
  });
  EXPECT_GT(clients, 0);
}

// One process after another takes over while clients come and go.
TEST_F(SharedAddress, IsTakenOverWithoutARefusalOrAReset) {
  const NetworkNamespace net;
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  NetworkNamespace::set("ipv4.tcp_migrate_req", "1");
  constexpr int kThreads = 4;
  constexpr int kConnects = kSanitized ? 1'000 : 25'000;  // of each thread
  constexpr int kExchanges = kSanitized ? 2 : 20;
  Backend backend(echo());
  start_for(backend, {"--shards", "2", "--share-port"});
  const std::string address = gateway->address();

  std::atomic<int> refused = 0;
  std::string first_refusal;  // written once, read when the clients are through
  std::atomic<int> reset = 0;
  std::atomic<int> connects = 0;
  const auto come_and_go = [&](int thread) {
    for (int i = 0; i < kConnects; ++i) {
      // So many addresses that no port is used twice within its TIME-WAIT.
      const std::string source =
          "127.1." + std::to_string(thread) + "." + std::to_string(1 + i % 200) + ":0";
      try {
        const Fd client = connect_to(address, source);
        ::shutdown(client.get(), SHUT_WR);  // a probe: the gateway ends it, too
        std::string nothing;
        if (receive_all(client, nothing) == StreamEnd::kReset) ++reset;
      } catch (const TestFailure& failure) {
        if (refused++ == 0) first_refusal = failure.what();
      }
      ++connects;
      connects.notify_one();
    }
  };
  std::vector<std::thread> clients;
  for (int thread = 0; thread < kThreads; ++thread) clients.emplace_back(come_and_go, thread);
  for (int exchange = 0; exchange < kExchanges; ++exchange) {
    // Spread over the connects.
    for (int so_far; (so_far = connects) < kThreads * kConnects / kExchanges * exchange;)
      connects.wait(so_far);
    auto next =
        std::make_unique<Gateway>(flags({"--listen", address, "--share-port", "--shards", "2"}));
    EXPECT_EQ(gateway->stop(), "");
    gateway = std::move(next);
    EXPECT_TRUE(served());
  }
  for (std::thread& client : clients) client.join();

  EXPECT_EQ(refused, 0) << first_refusal;
  EXPECT_EQ(reset, 0);
  EXPECT_EQ(gateway->process().err().find("tcp_migrate_req"), std::string::npos);
  finish();  // in here: the namespace goes
}

// Whoever connects to a unix socket of --admin is answered, by the newest gateway.
TEST_F(SharedAddress, IsTakenOverWithTheUnixSocketOfAdmin) {
  const std::string path = dir / "admin.sock";
  const auto answering = [&] {
    const Fd client = connect_to("unix:" + path);
    ucred peer{};
    socklen_t size = sizeof peer;
    EXPECT_EQ(::getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
    return peer.pid;
  };
  Backend backend(echo());
  start_for(backend, {"--share-port", "--admin", "unix:" + path});
  const std::string address = gateway->address();
  EXPECT_EQ(answering(), gateway->process().pid());
  // One that does not come so far leaves it alone.
  const Fd taken = listen_on("127.0.0.1:0");
  const Finished fails =
      run_sallyport(flags({"--listen", address, "--share-port", "--admin", "unix:" + path,
                           "--admin", local_address(taken).to_string()}));
  EXPECT_EQ(fails.status, 1) << fails.err;
  EXPECT_EQ(answering(), gateway->process().pid());

  for (int exchange = 0; exchange < 3; ++exchange) {
    auto next = std::make_unique<Gateway>(
        flags({"--listen", address, "--share-port", "--admin", "unix:" + path}));
    EXPECT_EQ(answering(), next->process().pid());
    EXPECT_EQ(gateway->stop(), "");
    gateway = std::move(next);
    EXPECT_EQ(answering(), gateway->process().pid());
    EXPECT_TRUE(gateway->ready());
  }
}

// The one that drains would answer that it is not ready, in the name of the one that is.
TEST_F(SharedAddress, IsLeftByTheAdminServerOfTheOneThatDrains) {
  Backend backend(echo());
  start_for(backend, {"--share-port", "--drain-delay", "1h"});
  const auto next = std::make_unique<Gateway>(
      flags({"--listen", gateway->address(), "--share-port", "--admin", gateway->admin()}));
  gateway->signal(SIGTERM);
  gateway->wait_err({"draining"});
  EXPECT_TRUE(eventually([&] {
    try {
      for (int i = 0; i < 50; ++i)
        if (next->get("/readyz").status != 200) return false;
      return true;
    } catch (const TestFailure&) {  // it was connecting to the one that left
      return false;
    }
  }));
  wait_until("a later signal ends it", [this] {
    if (gateway->process().running()) gateway->signal(SIGTERM);
    return !gateway->process().running();
  });
  EXPECT_EQ(gateway->ended(0), "");
  EXPECT_TRUE(next->ready());
  EXPECT_EQ(next->stop(), "");
  gateway.reset();
}

TEST_F(SharedAddress, WarnsWhereTheKernelWouldResetClients) {
  const NetworkNamespace net;
  if (!net.missing().empty()) GTEST_SKIP() << net.missing();
  NetworkNamespace::set("ipv4.tcp_migrate_req", "0");
  Backend backend(echo());
  start_for(backend, {"--share-port"});
  gateway->wait_err({"warning", "net.ipv4.tcp_migrate_req=1"});
  finish();
}

}  // namespace
}  // namespace sallyport::test
