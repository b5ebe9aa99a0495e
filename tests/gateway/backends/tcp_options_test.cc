#include "gateway/backends/tcp_options.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "iouring/connect.h"
#include "iouring/listener.h"
#include "iouring/ring.h"
#include "iouring/socket.h"
#include "tests/iouring/socket_options.h"

namespace sallyport::gateway {
namespace {

using iouring::Listener;
using iouring::Result;
using iouring::Ring;
using iouring::Socket;
using iouring::SocketAddress;
using iouring::Task;

Task<void> accept_one(Ring& ring, Listener& listener, std::optional<Result<Socket>>& accepted) {
  Result<Socket> client = co_await iouring::connect(ring, listener.address());
  accepted = co_await listener.accept();
  co_await listener.stop();
}

class TcpOptions : public ::testing::TestWithParam<const char*> {};

TEST_P(TcpOptions, OfAListenerAreThoseOfItsConnections) {
  auto ring = Ring::create({});
  ASSERT_TRUE(ring) << ring.error().what;
  auto listener = Listener::bind(**ring, *SocketAddress::parse(GetParam()));
  if (!listener && listener.error().value == EADDRNOTAVAIL) GTEST_SKIP() << "no " << GetParam();
  ASSERT_TRUE(listener);
  set_tcp_options((*listener)->descriptor());
  ASSERT_TRUE((*listener)->listen());
  std::optional<Result<Socket>> accepted;
  (*ring)->run(accept_one(**ring, **listener, accepted));
  ASSERT_TRUE(accepted && *accepted);
  Socket& socket = **accepted;
  EXPECT_EQ(get_option(socket, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(get_option(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(get_option(socket, IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(get_option(socket, IPPROTO_TCP, TCP_KEEPINTVL), 10);
  EXPECT_EQ(get_option(socket, IPPROTO_TCP, TCP_KEEPCNT), 6);
}

INSTANTIATE_TEST_SUITE_P(Each, TcpOptions, ::testing::Values("127.0.0.1:0", "[::1]:0"),
                         [](const auto& each) { return each.index == 0 ? "Ipv4" : "Ipv6"; });

}  // namespace
}  // namespace sallyport::gateway
