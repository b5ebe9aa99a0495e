#include "iouring/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "iouring/connect.h"
#include "iouring/task_group.h"
#include "tests/iouring/descriptors.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Listener> listen_on(Ring& ring, const char* address, ListenOptions options = {}) {
  Result<std::unique_ptr<Listener>> listener =
      Listener::bind(ring, *SocketAddress::parse(address), options);
  if (!listener) {
    ADD_FAILURE() << listener.error().name();
    std::abort();
  }
  EXPECT_TRUE((*listener)->listen());
  return std::move(*listener);
}

/// Connects without the ring: the kernel completes the handshake without an accept().
FileDescriptor connect_blocking(const SocketAddress& address) {
  FileDescriptor fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), address.data(), address.size()) != 0) return {};
  return fd;
}

SocketAddress local_address(const Socket& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(socket.descriptor(), plain, &size) != 0) std::abort();
  return {plain, size};
}

Task<void> accept_one(Ring& ring, Listener& listener) {
  Result<Socket> client = co_await connect(ring, listener.address());
  EXPECT_TRUE(client);
  Result<Socket> server = co_await listener.accept();
  EXPECT_TRUE(server);
  if (!client || !server) co_return;
  EXPECT_EQ(*server->peer_address(), local_address(*client));
  const int flags = ::fcntl(server->descriptor(), F_GETFL);
  EXPECT_EQ(flags & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(server->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  const Result<> sent = co_await client->send_all(as_bytes("hi"));
  EXPECT_TRUE(sent);
  const std::string got = co_await recv_exactly(*server, 2);
  EXPECT_EQ(got, "hi");
  co_await listener.stop();
}

TEST(Listener, AcceptsOverIPv4) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  EXPECT_NE(listener->address().port(), 0);
  ring->run(accept_one(*ring, *listener));
}

TEST(Listener, AcceptsOverIPv6) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "[::1]:0");
  ring->run(accept_one(*ring, *listener));
}

Task<void> accept_unix(Ring& ring, Listener& listener, std::string& got) {
  Result<Socket> client = co_await connect(ring, listener.address());
  EXPECT_TRUE(client);
  Result<Socket> server = co_await listener.accept();
  EXPECT_TRUE(server);
  if (client && server) {
    const Result<> sent = co_await client->send_all(as_bytes("hi"));
    EXPECT_TRUE(sent);
    got = co_await recv_exactly(*server, 2);
  }
  co_await listener.stop();
}

TEST(Listener, AcceptsOverAUnixSocket) {
  auto ring = make_ring();
  const std::string name = "unix:@sallyport-listener-test-" + std::to_string(::getpid());
  auto listener = listen_on(*ring, name.c_str());
  EXPECT_EQ(listener->address().to_string(), name);
  std::string got;
  ring->run(accept_unix(*ring, *listener, got));
  EXPECT_EQ(got, "hi");
}

// An address of each family.
class ListenerAddress : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto bound = bind(*SocketAddress::parse(GetParam()));
    if (!bound && bound.error().value == EADDRNOTAVAIL) GTEST_SKIP() << "no " << GetParam();
  }
  [[nodiscard]] Result<std::unique_ptr<Listener>> bind(const SocketAddress& address,
                                                       ListenOptions options = {}) const {
    return Listener::bind(*ring_, address, options);
  }
  std::unique_ptr<Ring> ring_ = make_ring();
};

TEST_P(ListenerAddress, InUseIsAnErrorOfBind) {
  auto listener = listen_on(*ring_, GetParam());
  for (const bool reuse_port : {false, true}) {
    const auto second = bind(listener->address(), {.reuse_port = reuse_port});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().value, EADDRINUSE);
  }
}

TEST_P(ListenerAddress, BelongsToTheFirstThatListensOfThoseThatAreBound) {
  const auto first = bind(*SocketAddress::parse(GetParam())).value();
  const auto second = bind(first->address()).value();
  ASSERT_TRUE(first->listen());
  EXPECT_EQ(second->listen().error().value, EADDRINUSE);

  ASSERT_TRUE(second->share_port());
  EXPECT_EQ(second->listen().error().value, EADDRINUSE) << "the first one does not share";
  ASSERT_TRUE(first->share_port());
  EXPECT_TRUE(second->listen());
}

TEST_P(ListenerAddress, IsSharedOnlyWithThoseThatAskForIt) {
  auto first = listen_on(*ring_, GetParam());
  ASSERT_TRUE(first->share_port());
  EXPECT_EQ(bind(first->address()).error().value, EADDRINUSE);
  const auto second = bind(first->address(), {.reuse_port = true});
  ASSERT_TRUE(second);
  EXPECT_TRUE((*second)->listen());
}

INSTANTIATE_TEST_SUITE_P(Each, ListenerAddress,
                         ::testing::Values("127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"));

Task<void> accept_until_stopped(Listener& listener, std::size_t& accepted) {
  for (;;) {
    const Result<Socket> socket = co_await listener.accept();
    if (!socket) {
      EXPECT_EQ(socket.error().value, ESHUTDOWN);
      co_return;
    }
    ++accepted;
  }
}

Task<void> stop_with_backlog(Ring& ring, Listener& listener, std::size_t& accepted) {
  // Some connect before the first accept(), some are taken by the multishot accept, some stay in
  // the backlog.
  std::vector<FileDescriptor> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(connect_blocking(listener.address()));
  Result<Socket> first = co_await listener.accept();
  EXPECT_TRUE(first);
  ++accepted;
  for (int i = 0; i < 20; ++i) clients.push_back(connect_blocking(listener.address()));
  co_await next_iteration(ring);
  for (int i = 0; i < 20; ++i) clients.push_back(connect_blocking(listener.address()));
  co_await listener.stop();
  EXPECT_EQ(listener.descriptor(), -1);
  co_await accept_until_stopped(listener, accepted);
}

TEST(Listener, LosesNoConnectionWhenStopped) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0", {.reuse_port = true});
  std::size_t accepted = 0;
  ring->run(stop_with_backlog(*ring, *listener, accepted));
  EXPECT_EQ(accepted, 60U);
}

Task<void> stop_later(Ring& ring, Listener& listener) {
  for (int i = 0; i < 3; ++i) co_await next_iteration(ring);
  co_await listener.stop();
}

Task<void> stop_while_accepting(Ring& ring, Listener& listener, std::size_t& accepted) {
  co_await both(accept_until_stopped(listener, accepted), stop_later(ring, listener));
}

TEST(Listener, WakesAWaitingAcceptWhenStopped) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  std::size_t accepted = 0;
  ring->run(stop_while_accepting(*ring, *listener, accepted));
  EXPECT_EQ(accepted, 0U);
}

TEST(Listener, CanBeStoppedBeforeItListens) {
  auto ring = make_ring();
  auto listener = Listener::bind(*ring, *SocketAddress::parse("127.0.0.1:0")).value();
  std::size_t accepted = 0;
  ring->run(stop_while_accepting(*ring, *listener, accepted));
  EXPECT_EQ(accepted, 0U);
}

Task<int> accept_error(Listener& listener) {
  const Result<Socket> socket = co_await listener.accept();
  co_return socket ? 0 : socket.error().value;
}

Task<void> accept_until_it_fails(Ring& ring, Listener& listener, int& error) {
  const FileDescriptor client = connect_blocking(listener.address());
  Result<Socket> first = co_await listener.accept();
  EXPECT_TRUE(first);
  EXPECT_EQ(::shutdown(listener.descriptor(), SHUT_RDWR), 0);
  error = co_await accept_error(listener);
  EXPECT_EQ(listener.descriptor(), -1);
  Result<Socket> refused = co_await connect(ring, listener.address());
  EXPECT_FALSE(refused);
  co_await listener.stop();
}

TEST(Listener, IsClosedWhenAcceptingFailsForGood) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  int error = 0;
  ring->run(accept_until_it_fails(*ring, *listener, error));
  EXPECT_EQ(error, EINVAL);
}

Task<void> scoped_accept(CancelScope& scope, Listener& listener, int& error) {
  error = co_await in_scope(scope, accept_error(listener));
}

Task<void> connect_and_cancel(Ring& ring, Listener& listener, CancelScope& scope,
                              FileDescriptor& client) {
  co_await next_iteration(ring);
  client = connect_blocking(listener.address());
  scope.cancel();
}

Task<void> cancel_an_accept(Ring& ring, Listener& listener) {
  int cancelled = 0;
  for (int i = 0; i < 30; ++i) {
    FileDescriptor client;
    int error = 0;
    {
      CancelScope scope;
      co_await both(scoped_accept(scope, listener, error),
                    connect_and_cancel(ring, listener, scope, client));
    }
    if (error == 0) continue;
    EXPECT_EQ(error, ECANCELED);
    ++cancelled;
    const Result<Socket> kept = co_await listener.accept();
    EXPECT_TRUE(kept) << "the connection waits for the next accept()";
  }
  EXPECT_GT(cancelled, 0);
  co_await listener.stop();
}

TEST(Listener, KeepsTheConnectionWhenAnAcceptIsCancelled) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  ring->run(cancel_an_accept(*ring, *listener));
}

Task<void> accept_into(Listener& listener, int& accepted) {
  const Result<Socket> socket = co_await listener.accept();
  EXPECT_TRUE(socket);
  if (socket) ++accepted;
}

Task<void> accept_then_listen(Ring& ring, Listener& listener, int& accepted) {
  TaskGroup group(ring);
  group.spawn(accept_into(listener, accepted));
  co_await next_iteration(ring);
  EXPECT_TRUE(listener.listen());
  const FileDescriptor client = connect_blocking(listener.address());
  co_await group.join();
  co_await listener.stop();
}

TEST(Listener, AcceptsOnceItListens) {
  auto ring = make_ring();
  auto listener = Listener::bind(*ring, *SocketAddress::parse("127.0.0.1:0")).value();
  int accepted = 0;
  ring->run(accept_then_listen(*ring, *listener, accepted));
  EXPECT_EQ(accepted, 1);
}

Task<void> exhaust(Ring& ring, Listener& listener, int& accepted, std::uint64_t& iterations) {
  const FileDescriptor client = connect_blocking(listener.address());
  DescriptorLimit limit(0);
  TaskGroup group(ring);
  group.spawn(accept_into(listener, accepted));
  const std::uint64_t before = ring.iterations();
  while (listener.exhausted() < 4) {  // pauses of 10, 20 and 40 ms between
    const Result<> slept = co_await sleep_for(ring, 50ms);
    EXPECT_TRUE(slept);
  }
  iterations = ring.iterations() - before;
  EXPECT_EQ(accepted, 0);
  limit.lift();
  co_await group.join();
  co_await listener.stop();
}

TEST(Listener, PausesWhenDescriptorsRunOutAndThenAcceptsAgain) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  int accepted = 0;
  std::uint64_t iterations = 0;
  ring->run(exhaust(*ring, *listener, accepted, iterations));
  EXPECT_EQ(accepted, 1);
  EXPECT_LT(iterations, 40U) << "re-arming at once would spin";
}

Task<void> flood(Ring& ring, Listener& listener, std::size_t& accepted) {
  constexpr std::size_t kClients = Listener::kMaxQueued + 200;
  std::vector<FileDescriptor> clients;
  clients.push_back(connect_blocking(listener.address()));
  const Result<Socket> first = co_await listener.accept();
  EXPECT_TRUE(first);
  ++accepted;
  while (clients.size() < kClients) {
    clients.push_back(connect_blocking(listener.address()));
    if (clients.size() % 64 == 0) co_await next_iteration(ring);
  }
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  EXPECT_LE(listener.queued(), Listener::kMaxQueued + 64) << "the rest waits in the backlog";
  while (accepted < kClients) {
    const Result<Socket> socket = co_await listener.accept();
    EXPECT_TRUE(socket);
    if (!socket) break;
    ++accepted;
  }
  co_await listener.stop();
}

TEST(Listener, LeavesConnectionsInTheBacklogWhileNothingAccepts) {
  auto ring = make_ring();
  auto listener = listen_on(*ring, "127.0.0.1:0");
  std::size_t accepted = 0;
  ring->run(flood(*ring, *listener, accepted));
  EXPECT_EQ(accepted, Listener::kMaxQueued + 200);
}

using ListenerDeathTest = ::testing::Test;

Task<void> never_stop(Ring& ring, std::unique_ptr<Listener>& listener) {
  const Result<Socket> client = co_await connect(ring, listener->address());
  const Result<Socket> server = co_await listener->accept();
  listener.reset();
}

TEST(ListenerDeathTest, AbortsWhenDestroyedBeforeItWasStopped) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        auto listener = listen_on(*ring, "127.0.0.1:0");
        ring->run(never_stop(*ring, listener));
      },
      "a listener is stopped before it is destroyed");
}

}  // namespace
}  // namespace sallyport::iouring
