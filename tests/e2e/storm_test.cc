// Connects and resets by the hundred, in every phase of a connection's life, leave nothing behind:
// no descriptor of the gateway's, and in a guest of its own no socket and no memory of the
// kernel's.
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/scenario.h"
#include "tests/support/proc.h"

namespace sallyport::test {
namespace {

class Storm : public Scenario {
 protected:
  std::size_t descriptors() const {
    return descriptors_of(std::to_string(gateway->process().pid()));
  }

  /// One connection, ended in the phase that its number says.
  void one(int which) {
    if (which % 6 == 0) {
      connect_to(gateway->address()).reset();
      return;
    }
    if (which % 6 == 1) {
      Fd socket = connect_to(gateway->address());
      send_all(socket, std::string("\x16\x03\x01\x01\x00\x01", 6));
      socket.reset();
      return;
    }
    TlsClient tls = connect();
    if (which % 6 == 2) return tls.reset();
    tls.send(std::string(20'000, 'x'));
    if (which % 6 == 3) return tls.reset();
    tls.receive(20'000);
    if (which % 6 == 4) return tls.reset();
    tls.close_notify();
    tls.receive_all();
  }

  void storm(int connections) {
    for (int i = 0; i < connections; ++i) one(i);
    wait_until("every connection of the storm is closed",
               [&] { return gateway->metrics().sum("connections") == 0; });
  }

  Backend backend{echo()};
};

TEST_F(Storm, OfConnectsAndResetsLeavesNothingBehind) {
  start_for(backend);
  storm(30);  // pools and caches are filled now
  const std::size_t before = descriptors();
  const char* const guest = std::getenv("SALLYPORT_REQUIRE_KTLS");
  const bool alone = guest != nullptr && std::string(guest) == "1";
  const long sockets = tcp_sockets();
  const long slab = slab_kib();
  storm(alone ? 180 : 600);
  EXPECT_TRUE(eventually([&] { return descriptors() <= before; }))
      << descriptors() << " descriptors, " << before << " before";
  if (!alone) return;
  EXPECT_TRUE(eventually([&] { return tcp_sockets() <= sockets; }))
      << tcp_sockets() << " sockets, " << sockets << " before";
  EXPECT_TRUE(eventually([&] { return proc_number("/proc/net/sockstat", "orphan") == 0; }));
  EXPECT_TRUE(eventually([&] {
    return proc_number("/proc/net/tls_stat", "TlsCurrTxSw") == 0 &&
           proc_number("/proc/net/tls_stat", "TlsCurrRxSw") == 0;
  }));
  // Of 120 of them the kernel had the records, in 3 to 4 KiB each.
  EXPECT_TRUE(eventually([&] { return slab_kib() < slab + 300; }))
      << slab_kib() << " KiB of slab, " << slab << " before";
}

// Steps that were begun on the handshake thread are waited for, the others given back.
TEST_F(Storm, OfHandshakesEndsWithTheGateway) {
  start_for(backend, {"--drain-timeout", "50ms"});
  std::vector<std::thread> crowd;
  std::atomic<int> served_so_far = 0;
  for (int i = 0; i < 6; ++i) {
    crowd.emplace_back([this, &served_so_far] {
      try {
        while (served()) ++served_so_far;
      } catch (const std::exception&) {
        return;  // the listener is closed
      }
    });
  }
  wait_until("the storm blows", [&] { return served_so_far >= 20; });
  gateway->signal(SIGTERM);
  EXPECT_EQ(gateway->ended(0), "");
  for (std::thread& one : crowd) one.join();
  gateway.reset();
}

}  // namespace
}  // namespace sallyport::test
