#include "iouring/send.h"

#include <gtest/gtest.h>
#include <sys/uio.h>

#include <cerrno>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "iouring/both.h"
#include "tests/iouring/cancel_soon.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> transfer(SocketPair pair, std::string_view text, std::string& got) {
  auto [none, received] = co_await both(send_then_end(pair.left, text), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
}

TEST(Socket, SendsAllOfMoreThanTheKernelBuffers) {
  auto ring = make_ring();
  std::string text(8 << 20, '\0');
  std::iota(text.begin(), text.end(), 0);
  std::string got;
  ring->run(transfer(tcp_pair(*ring), text, got));
  EXPECT_TRUE(got == text);
}

Task<void> transfer_pieces(SocketPair pair, std::span<iovec> pieces, std::string& got) {
  auto [none, received] =
      co_await both(send_pieces_then_end(pair.left, pieces), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
}

TEST(Socket, SendsAllPiecesInOrderAlsoEmptyOnes) {
  auto ring = make_ring();
  std::vector<std::string> texts;
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    texts.emplace_back(i % 7 == 0 ? 0 : 9000 + i, static_cast<char>('a' + i % 26));
    expected += texts.back();
  }
  std::vector<iovec> pieces;
  for (std::string& text : texts) pieces.push_back({text.data(), text.size()});
  std::string got;
  ring->run(transfer_pieces(tcp_pair(*ring), pieces, got));
  EXPECT_TRUE(got == expected);
}

Task<void> send_to_nobody(SocketPair pair, int& error) {
  pair.right.reset();
  Result<std::size_t> sent = co_await pair.left.send(as_bytes("x"));
  if (sent) sent = co_await pair.left.send(as_bytes("x"));
  EXPECT_FALSE(sent);
  if (!sent) error = sent.error().value;
}

TEST(Socket, RaisesNoSignalWhenThePeerIsClosed) {
  auto ring = make_ring();
  int error = 0;
  ring->run(send_to_nobody(unix_pair(*ring), error));
  EXPECT_EQ(error, EPIPE);
}

// ---- cancelled sends: the socket buffer is full, so that the send waits

Task<void> send_too_much(Socket& socket, Result<>& sent) {
  const std::string text(32 << 20, 'x');
  sent = co_await socket.send_all(as_bytes(text));
}

Task<void> scoped_send(CancelScope& scope, Socket& socket, Result<>& sent) {
  co_await in_scope(scope, send_too_much(socket, sent));
}

Task<void> cancel_a_send(Ring& ring, SocketPair pair, Result<>& sent) {
  CancelScope scope;
  co_await both(scoped_send(scope, pair.left, sent), cancel_later(ring, scope));
}

TEST(Socket, StopsSendingWhenCancelled) {
  auto ring = make_ring();
  Result<> sent;
  ring->run(cancel_a_send(*ring, tcp_pair(*ring), sent));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, ECANCELED);
}

}  // namespace
}  // namespace sallyport::iouring
