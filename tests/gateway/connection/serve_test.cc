// serve() with real clients, without a process around it.
#include "gateway/connection/serve.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/gateway/connection/backend_tls_fixture.h"
#include "tests/support/wait.h"

namespace {

// The thread of the loop while it serves; calls of OpenSSL by it, and by others.
std::atomic<std::thread::id> loop{};
std::atomic<int> calls_on_loop = 0;
std::atomic<int> calls_elsewhere = 0;

void count() {
  ++(std::this_thread::get_id() == loop.load() ? calls_on_loop : calls_elsewhere);
}

}  // namespace

// The linker's --wrap puts these in front of OpenSSL's (CMakeLists.txt).
extern "C" {
SSL* __real_SSL_new(SSL_CTX* context);
SSL* __wrap_SSL_new(SSL_CTX* context) {
  count();
  return __real_SSL_new(context);
}
int __real_SSL_do_handshake(SSL* ssl);
int __wrap_SSL_do_handshake(SSL* ssl) {
  count();
  return __real_SSL_do_handshake(ssl);
}
int __real_SSL_new_session_ticket(SSL* ssl);
int __wrap_SSL_new_session_ticket(SSL* ssl) {
  count();
  return __real_SSL_new_session_ticket(ssl);
}
int __real_SSL_read(SSL* ssl, void* buffer, int size);
int __wrap_SSL_read(SSL* ssl, void* buffer, int size) {
  count();
  return __real_SSL_read(ssl, buffer, size);
}
void __real_SSL_free(SSL* ssl);
void __wrap_SSL_free(SSL* ssl) {
  if (ssl != nullptr) count();
  __real_SSL_free(ssl);
}
}

namespace sallyport::gateway {
namespace {

using test::TlsClient;

class Serve : public ServeTest {
 protected:
  void enters_loop() override { loop = std::this_thread::get_id(); }
  void leaves_loop() override { loop = std::thread::id(); }
};

// The loop would spin on a lock of OpenSSL's that the idle worker's thread was preempted in
// (worker_for_step()).
TEST_F(Serve, CallsOpensslForHandshakesBesideTheLoopWhileConnectionsAreBusy) {
  timeouts_.lingering_close = std::chrono::hours(1);  // then the loop would free what is left
  const iouring::Result<> started = idle_worker_->start("handshake");
  if (!started)
    GTEST_SKIP() << "a thread under SCHED_IDLE is forbidden: " << started.error().name();
  serve_clients([this] {
    TlsClient full = connect();
    TlsClient resumed = connect({.session = full.session()});
    EXPECT_TRUE(resumed.session());
    const std::array relayed{accept_backend(), accept_backend()};
    // Its reset would find the records' start otherwise.
    for (const test::Fd& backend : relayed) EXPECT_EQ(::send(backend.get(), "x", 1, 0), 1);
    EXPECT_EQ(full.receive(1), "x");
    EXPECT_EQ(resumed.receive(1), "x");
    resumed.reset();
    full.reset();
    connect({.sni = "empty.test"}).receive_all();
    connect({.sni = "other.test"}).receive_all();
    connect({}, "unknown.test").receive_all();
    connect({}, "").receive_all();  // without a certificate
    connect({.min_version = TLS1_2_VERSION, .max_version = TLS1_2_VERSION});
    // Ends in the middle, by the client.
    connect({.handshake_flights = 1}).reset();
    connect({.handshake_flights = 1}).shutdown_write();
    // And by the gateway: the third has no room.
    std::vector<TlsClient> silent;
    for (int i = 0; i < 3; ++i) silent.push_back(connect({.handshake_flights = 1}));
    std::string answer;
    test::receive_all(silent.front().socket(), answer);
  });
  idle_worker_->stop();

  EXPECT_EQ(reasons(), (std::set<std::string>{"certificate_required", "client_reset",
                                              "client_reset (resumed)", "no_endpoint", "no_route",
                                              "not_authorized", "peer_connection_closed",
                                              "protocol_version_unsupported", "shed"}));
  EXPECT_GT(calls_elsewhere, 40);
  EXPECT_EQ(calls_on_loop, 0);
}

class ServeOverTls : public BackendTlsTest {
 protected:
  void enters_loop() override { loop = std::this_thread::get_id(); }
  void leaves_loop() override { loop = std::thread::id(); }
};

TEST_F(ServeOverTls, CallsOpensslForBackendsAndTheirTicketsBesideTheLoop) {
  const iouring::Result<> started = idle_worker_->start("handshake");
  if (!started)
    GTEST_SKIP() << "a thread under SCHED_IDLE is forbidden: " << started.error().name();
  calls_on_loop = calls_elsewhere = 0;
  const Backend good(echo());
  const Backend other(echo({.spiffe = {"spiffe://example.org/billing"}}));
  const Backend leaves([](test::Fd& socket) {
    std::string hello;
    test::receive(socket, hello, 1);
  });
  serve_to(std::vector{DiscoveryGroup{{good.address(), other.address(), leaves.address()}, {}}});
  serve_clients([this] {
    for (int i = 0; i < 6; ++i) {
      TlsClient client = connect();
      EXPECT_TRUE(client.echo("hello"));
      client.close_notify();
      client.receive_all();
    }
  });
  idle_worker_->stop();
  EXPECT_TRUE(std::ranges::any_of(log_.records, [](const ConnectionFacts& each) {
    return each.backend_resumed.value_or(false);
  }));
  EXPECT_GT(other.accepted(), 0);
  EXPECT_GT(leaves.accepted(), 0);
  EXPECT_EQ(calls_on_loop, 0);
}

// What it is sent then fills its socket's buffers and ours.
TEST_F(Serve, GivesAClientThatTakesNoTicketsALimitedTimeWithoutAHandshakeTimeout) {
  timeouts_.tickets = std::chrono::milliseconds(10);
  send_buffer_ = 1;
  pki_.settings.tickets = 8;
  state_.tls = only(pki_.context());
  serve_clients([this] {
    std::vector<std::string> dns{"known.test"};
    for (int i = 0; i < 100; ++i) dns.push_back("name" + std::to_string(i) + ".test");
    TlsClient deaf(connect_with_small_window(),
                   {.certificate = pki_.authority.issue({.dns = dns}), .sni = "orders.test"});
    ASSERT_TRUE(deaf.connected());
    test::wait_until("the gateway ends it", [this] { return log_.written == 1; });
  });
  EXPECT_EQ(reasons(), (std::set<std::string>{"handshake_timeout"}));
}

}  // namespace
}  // namespace sallyport::gateway
