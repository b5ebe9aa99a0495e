#include "iouring/connect.h"

#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "iouring/both.h"
#include "tests/iouring/cancel_soon.h"
#include "tests/iouring/descriptors.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> connect_to(Ring& ring, SocketAddress address, int& error) {
  const Result<Socket> socket = co_await connect(ring, address);
  error = socket ? 0 : socket.error().value;
}

TEST(Connect, ReportsARefusal) {
  auto ring = make_ring();
  // Bound and not listening: the connection is refused, and no other process can take the port.
  const FileDescriptor bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  int error = 0;
  ring->run(connect_to(*ring, SocketAddress(reinterpret_cast<sockaddr*>(&address), size), error));
  EXPECT_EQ(error, ECONNREFUSED);
}

TEST(Connect, ReportsAMissingUnixSocket) {
  auto ring = make_ring();
  int error = 0;
  ring->run(connect_to(*ring, *SocketAddress::parse("unix:/nowhere/at/all"), error));
  EXPECT_EQ(error, ENOENT);
}

TEST(Connect, ReportsDescriptorExhaustion) {
  auto ring = make_ring();
  int error = 0;
  const DescriptorLimit none(0);
  ring->run(connect_to(*ring, *SocketAddress::parse("127.0.0.1:1"), error));
  EXPECT_EQ(error, EMFILE);
}

Task<void> scoped_connect(Ring& ring, CancelScope& scope, SocketAddress address, int& error) {
  co_await in_scope(scope, connect_to(ring, address, error));
}

Task<void> cancel_a_connect(Ring& ring, SocketAddress address, int& error) {
  CancelScope scope;
  co_await both(scoped_connect(ring, scope, address, error), cancel_later(ring, scope));
}

TEST(Connect, IsCancelledWithoutLosingADescriptor) {
  auto ring = make_ring();
  // A full backlog drops the SYN, so that the connect waits.
  const FileDescriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const FileDescriptor first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(first.get(), reinterpret_cast<sockaddr*>(&address), size), 0);

  const std::size_t before = open_descriptors();
  int error = 0;
  ring->run(
      cancel_a_connect(*ring, SocketAddress(reinterpret_cast<sockaddr*>(&address), size), error));
  EXPECT_EQ(error, ECANCELED);
  EXPECT_EQ(open_descriptors(), before);
}

// The segments that have left when the first byte has: SYN, and the byte; or a bare acknowledgement
// between them.
Task<void> count_segments(Ring& ring, SocketAddress address, FirstBytes first, unsigned& segments) {
  Result<Socket> socket = co_await connect(ring, address, first);
  EXPECT_TRUE(socket);
  if (!socket) co_return;
  EXPECT_EQ(::send(socket->descriptor(), "x", 1, 0), 1);
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(socket->descriptor(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  segments = info.tcpi_segs_out;
}

TEST(Connect, SparesASegmentWhereBytesFollowAtOnce) {
  auto ring = make_ring();
  const auto listener = Listener::bind(*ring, *SocketAddress::parse("127.0.0.1:0")).value();
  ASSERT_TRUE(listener->listen());
  unsigned usual = 0;
  ring->run(count_segments(*ring, listener->address(), FirstBytes::kLater, usual));
  EXPECT_EQ(usual, 3U);
  // The kernel waits 200 ms for the bytes; one of these connections is not held up for so long.
  unsigned fewest = usual;
  for (int i = 0; i < 10; ++i) {
    unsigned segments = 0;
    ring->run(count_segments(*ring, listener->address(), FirstBytes::kAtOnce, segments));
    fewest = std::min(fewest, segments);
  }
  EXPECT_EQ(fewest, 2U);
}

}  // namespace
}  // namespace sallyport::iouring
