// serve() with real clients, without a process around it.
#include "gateway/connection/serve.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iouring/inbox.h"
#include "iouring/listener.h"
#include "iouring/task_group.h"
#include "tests/gateway/connection/shard_fixture.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/support/tls_client.h"
#include "tests/support/wait.h"

namespace {

// The thread of the loop while it serves; calls of OpenSSL by it, and by others.
std::atomic<std::thread::id> loop{};
std::atomic<int> on_loop = 0;
std::atomic<int> elsewhere = 0;

void count() {
  ++(std::this_thread::get_id() == loop.load() ? on_loop : elsewhere);
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
void __real_SSL_free(SSL* ssl);
void __wrap_SSL_free(SSL* ssl) {
  if (ssl != nullptr) count();
  __real_SSL_free(ssl);
}
}

namespace sallyport::gateway {
namespace {

using iouring::Task;
using test::ClientOptions;
using test::TlsClient;

class Serve : public ShardTest {
 protected:
  Serve() : ShardTest({.memory = std::size_t{150} << 10}) {
    timeouts_.handshake = std::chrono::milliseconds(0);
  }
  void SetUp() override {
    ASSERT_TRUE(listener_->listen());
    Snapshot snapshot;
    snapshot.policy = *Policy::build({route("orders"), route("empty")});
    const std::string target = test::local_address(backend_).to_string();
    const std::string groups =
        R"([{"targets": [")" + target + R"("], "labels": {"route": "orders"}}])";
    snapshot.endpoints = EndpointSet::build(*parse_discovery(groups, "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.tls = pki_.context();
    // As if some connection were busy at all times.
    state_.relayed_at = iouring::TimePoint::max();
  }

  static Route route(const std::string& name) {
    Route route;
    route.name = name;
    route.sni = {name + ".test"};
    route.allow = {*IdentityPattern::parse("dns:known.test")};
    return route;
  }

  // Serves what connects until the listener is stopped and every connection has ended.
  Task<void> accept_all(iouring::TaskGroup& connections) {
    for (;;) {
      iouring::Result<iouring::Socket> client = co_await listener_->accept();
      if (!client) break;
      const int size = send_buffer_;
      if (size > 0) {
        EXPECT_EQ(::setsockopt(client->descriptor(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
      }
      connections.spawn(serve(state_, served_, *std::move(client)));
    }
    co_await connections.join();
  }
  template <class Clients>
  void serve_clients(Clients clients) {
    const auto inbox = iouring::Inbox::create(*shard_.ring).value();
    iouring::TaskGroup connections(*shard_.ring);
    std::thread thread([&] {
      clients();
      inbox->post([&] { connections.spawn(listener_->stop()); });
    });
    loop = std::this_thread::get_id();
    shard_.ring->run(accept_all(connections));
    loop = std::thread::id();
    thread.join();
  }

  // How they ended, each once.
  std::set<std::string> reasons() const {
    std::set<std::string> reasons;
    for (const ConnectionFacts& record : log_.records) {
      reasons.insert(std::string(to_string(record.reason)) +
                     (record.resumed.value_or(false) ? " (resumed)" : ""));
    }
    return reasons;
  }

  test::Fd accept_backend() const {
    return test::Fd(::accept4(backend_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  TlsClient connect(ClientOptions options = {}, std::string_view dns = "known.test") {
    if (options.sni.empty()) options.sni = "orders.test";
    if (!dns.empty()) options.certificate = pki_.authority.issue({.dns = {std::string(dns)}});
    return {listener_->address().to_string(), std::move(options)};
  }

  // Of a window that a few tickets fill.
  test::Fd connect_with_small_window() const {
    test::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int size = 1;
    EXPECT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    const iouring::SocketAddress& to = listener_->address();
    EXPECT_EQ(::connect(socket.get(), to.data(), to.size()), 0);
    return socket;
  }

  ktls::testing::TestServer pki_;
  test::Fd backend_ = test::listen_on("127.0.0.1:0");  // its backlog takes what connects
  int send_buffer_ = 0;                                // of the accepted; 0: the kernel's
  std::unique_ptr<iouring::Listener> listener_ =
      iouring::Listener::bind(*shard_.ring, *iouring::SocketAddress::parse("127.0.0.1:0")).value();
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
  EXPECT_GT(elsewhere, 40);
  EXPECT_EQ(on_loop, 0);
}

// What it is sent then fills its socket's buffers and ours.
TEST_F(Serve, GivesAClientThatTakesNoTicketsALimitedTimeWithoutAHandshakeTimeout) {
  timeouts_.tickets = std::chrono::milliseconds(10);
  send_buffer_ = 1;
  pki_.settings.tickets = 8;
  state_.tls = pki_.context();
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
