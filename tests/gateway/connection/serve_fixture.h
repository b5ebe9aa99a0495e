// serve() on a shard without a process around it, for clients on a thread of their own.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/backends/discovery.h"
#include "gateway/connection/recheck.h"
#include "gateway/connection/serve.h"
#include "iouring/inbox.h"
#include "iouring/listener.h"
#include "iouring/task_group.h"
#include "tests/gateway/connection/shard_fixture.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/support/tls_client.h"

namespace sallyport::gateway {

class ServeTest : public ShardTest {
 protected:
  explicit ServeTest(std::size_t handshake_memory = std::size_t{150} << 10)
      : ShardTest({.memory = handshake_memory}) {
    timeouts_.handshake = std::chrono::milliseconds(0);
  }
  void SetUp() override {
    ASSERT_TRUE(listener_->listen());
    Snapshot snapshot;
    snapshot.credentials = pki_.load().value();
    snapshot.policy = *Policy::build({route("orders"), route("empty")});
    const std::string target = test::local_address(backend_).to_string();
    const std::string groups =
        R"([{"targets": [")" + target + R"("], "labels": {"route": "orders"}}])";
    snapshot.endpoints = EndpointSet::build(*parse_discovery(groups, "groups"), {}, nullptr);
    state_.balancer.update(snapshot.endpoints);
    serve_with(std::move(snapshot));
    state_.tls = only(pki_.context());
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

  static TlsContexts only(std::shared_ptr<ktls::ServerContext> context) {
    return std::make_shared<const std::vector<std::shared_ptr<ktls::ServerContext>>>(
        1, std::move(context));
  }

  // Serves what connects until the listener is stopped and every connection has ended.
  iouring::Task<void> accept_all(iouring::TaskGroup& connections) {
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
    co_await state_.backend_sessions.stop();
  }
  template <class Clients>
  void serve_clients(Clients clients) {
    inbox_ = iouring::Inbox::create(*shard_.ring).value();
    iouring::TaskGroup connections(*shard_.ring);
    std::thread thread([&] {
      clients();
      inbox_->post([&] { connections.spawn(listener_->stop()); });
    });
    enters_loop();
    shard_.ring->run(accept_all(connections));
    leaves_loop();
    thread.join();
    inbox_.reset();
  }
  void serve_and_recheck(const std::function<void()>& clients) {
    inbox_ = iouring::Inbox::create(*shard_.ring).value();
    iouring::TaskGroup stopping(*shard_.ring);
    std::thread thread([&] {
      clients();
      inbox_->post([&] { stopping.spawn(listener_->stop()); });
    });
    shard_.ring->run(accept_and_recheck());
    thread.join();
    inbox_.reset();
  }
  iouring::Task<void> accept_and_recheck() {
    iouring::TaskGroup connections(*shard_.ring);
    iouring::TaskGroup chores(*shard_.ring);
    chores.spawn(recheck_live(state_));
    co_await accept_all(connections);
    chores.cancel_all();
    co_await chores.join();
  }

  // From the thread of the clients; returns when it is done.
  void on_loop(const std::function<void()>& act) {
    std::promise<void> done;
    inbox_->post([&] {
      act();
      done.set_value();
    });
    done.get_future().get();
  }

  virtual void enters_loop() {}
  virtual void leaves_loop() {}

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
  test::TlsClient connect(test::ClientOptions options = {}, std::string_view dns = "known.test") {
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
  std::unique_ptr<iouring::Inbox> inbox_;              // while it serves
  std::unique_ptr<iouring::Listener> listener_ =
      iouring::Listener::bind(*shard_.ring, *iouring::SocketAddress::parse("127.0.0.1:0")).value();
};

}  // namespace sallyport::gateway
