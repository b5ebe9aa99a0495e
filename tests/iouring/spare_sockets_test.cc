#include "iouring/spare_sockets.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

// Listens on the loopback; accept() waits for the next connection.
class Listening {
 public:
  explicit Listening(const char* where = "127.0.0.1:0") : address_(*SocketAddress::parse(where)) {
    descriptor_ = FileDescriptor(::socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    socklen_t size = sizeof storage_;
    auto* const bound = reinterpret_cast<sockaddr*>(&storage_);
    if (::bind(descriptor_.get(), address_.data(), address_.size()) != 0 ||
        ::listen(descriptor_.get(), 16) != 0 || ::getsockname(descriptor_.get(), bound, &size) != 0)
      std::abort();
    address_ = SocketAddress(bound, size);
  }
  const SocketAddress& address() const { return address_; }
  FileDescriptor accept() const {
    return FileDescriptor(::accept4(descriptor_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  FileDescriptor descriptor_;
  sockaddr_storage storage_{};
  SocketAddress address_;
};

Task<void> connect_into(SpareSockets& sockets, SocketAddress address, FirstBytes first,
                        Result<Socket>& socket) {
  socket = co_await sockets.connect(address, first);
}

class SpareSocketsTest : public ::testing::Test {
 protected:
  Result<Socket> connect(const SocketAddress& address, FirstBytes first = FirstBytes::kLater) {
    Result<Socket> socket = failure(ENOTCONN);
    ring_->run(connect_into(sockets_, address, first, socket));
    return socket;
  }
  static ssize_t receive(const FileDescriptor& from, std::span<char> room) {
    return ::recv(from.get(), room.data(), room.size(), 0);
  }

  std::unique_ptr<Ring> ring_ = make_ring();
  SpareSockets sockets_{*ring_, 2};
};

TEST_F(SpareSocketsTest, ConnectsTheSameSocketAgainAfterAReset) {
  const Listening listening;
  const Listening other;
  Result<Socket> first = connect(listening.address());
  ASSERT_TRUE(first);
  const int descriptor = first->descriptor();
  const FileDescriptor accepted = listening.accept();
  std::array<char, 8> room{};
  sockets_.reset(*std::move(first), AF_INET);
  EXPECT_EQ(receive(accepted, room), -1);
  EXPECT_EQ(errno, ECONNRESET) << "and no end of file";
  EXPECT_EQ(sockets_.size(), 1U);

  const Result<Socket> second = connect(other.address());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->descriptor(), descriptor);
  EXPECT_EQ(sockets_.size(), 0U);
  const FileDescriptor peer = other.accept();
  ASSERT_EQ(::send(descriptor, "x", 1, 0), 1);
  EXPECT_EQ(receive(peer, room), 1) << "of the new connection";
}

// Neither the peer's reset nor what it sent is seen by the next connection.
TEST_F(SpareSocketsTest, ASocketThatThePeerHadResetIsAsNew) {
  const Listening listening;
  Result<Socket> first = connect(listening.address());
  ASSERT_TRUE(first);
  {
    const FileDescriptor accepted = listening.accept();
    ASSERT_EQ(::send(accepted.get(), "old", 3, 0), 3);
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(accepted.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  }
  sockets_.reset(*std::move(first), AF_INET);
  for (const FirstBytes follow : {FirstBytes::kLater, FirstBytes::kAtOnce}) {
    Result<Socket> next = connect(listening.address(), follow);
    ASSERT_TRUE(next) << next.error().name();
    const FileDescriptor accepted = listening.accept();
    ASSERT_EQ(::send(accepted.get(), "new", 3, 0), 3);
    std::array<char, 8> room{};
    EXPECT_EQ(::recv(next->descriptor(), room.data(), room.size(), 0), 3);
    EXPECT_EQ(room[0], 'n');
    sockets_.reset(*std::move(next), AF_INET, follow);
  }
  EXPECT_EQ(sockets_.size(), 2U) << "one of each kind";
}

// Each connect is another turn of the loop, and so a later time.
TEST_F(SpareSocketsTest, ClosesWhatWasNotNeededForItsTime) {
  const Listening listening;
  SpareSockets forgetful(*ring_, 2, std::chrono::milliseconds(0));
  for (auto [sockets, kept] : {std::pair(&sockets_, 2U), std::pair(&forgetful, 1U)}) {
    Result<Socket> first = connect(listening.address());
    Result<Socket> second = connect(listening.address());
    sockets->reset(*std::move(first), AF_INET);
    sockets->reset(*std::move(second), AF_INET);
    EXPECT_EQ(sockets->size(), 2U);
    Result<Socket> again = failure(ENOTCONN);
    ring_->run(connect_into(*sockets, listening.address(), FirstBytes::kLater, again));
    ASSERT_TRUE(again);
    sockets->reset(*std::move(again), AF_INET);
    EXPECT_EQ(sockets->size(), kept);
  }
}

TEST_F(SpareSocketsTest, KeepsSoManyAndOfTcpOnly) {
  const Listening listening;
  std::vector<Socket> sockets;
  for (int i = 0; i < 3; ++i) sockets.push_back(*connect(listening.address()));
  for (Socket& socket : sockets) sockets_.reset(std::move(socket), AF_INET);
  EXPECT_EQ(sockets_.size(), 2U);
  SpareSockets empty(*ring_, 2);
  empty.reset(std::move(unix_pair(*ring_).left), AF_UNIX);
  EXPECT_EQ(empty.size(), 0U);
}

TEST_F(SpareSocketsTest, TakesOneOfTheFamilyAndDropsOneThatIsRefused) {
  const Listening listening;
  SocketAddress refusing = listening.address();
  sockets_.reset(*connect(listening.address()), AF_INET);
  {
    const Listening closed;
    refusing = closed.address();
  }
  const Result<Socket> by_ipv6 = connect(*SocketAddress::parse("[::1]:1"));
  EXPECT_FALSE(by_ipv6);
  EXPECT_EQ(sockets_.size(), 1U) << "another family's";
  const Result<Socket> refused = connect(refusing);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().value, ECONNREFUSED);
  EXPECT_EQ(sockets_.size(), 0U);
  EXPECT_TRUE(connect(listening.address()));
}

}  // namespace
}  // namespace sallyport::iouring
