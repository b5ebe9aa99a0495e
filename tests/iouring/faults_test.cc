#include "iouring/faults.h"

#include <gtest/gtest.h>

#ifdef SALLYPORT_FAULTS
#include <array>
#include <cerrno>
#include <numeric>
#include <string>

#include "iouring/both.h"
#include "iouring/buffer_ring.h"
#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<void> fail_then_receive(Ring& ring, FaultPlan& plan) {
  SocketPair pair = tcp_pair(ring);
  const Result<> sent = co_await pair.left.send_all(as_bytes("kept"));
  EXPECT_TRUE(sent);
  ring.set_faults(&plan);
  std::array<std::byte, 16> room{};
  const Result<std::size_t> failed = co_await pair.right.recv(room);
  EXPECT_FALSE(failed);
  if (!failed) EXPECT_EQ(failed.error().value, ECONNRESET);
  const Result<std::size_t> received = co_await pair.right.recv(room);
  EXPECT_EQ(received.value_or(0), 4U) << "an injected error takes no byte";
  ring.set_faults(nullptr);
}

TEST(FaultPlan, InjectsAnErrorWithoutTheOperation) {
  auto ring = make_ring();
  FaultPlan plan;
  plan.nth(Opcode::kRecv, 1, Fault::error(ECONNRESET));
  ring->run(fail_then_receive(*ring, plan));
  EXPECT_EQ(plan.injected(), 1U);
}

Task<void> transfer(Ring& ring, FaultPlan& plan, std::string_view text, std::string& got) {
  SocketPair pair = tcp_pair(ring);
  ring.set_faults(&plan);
  auto [none, received] = co_await both(send_then_end(pair.left, text), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
  ring.set_faults(nullptr);
}

Task<void> transfer_pieces(Ring& ring, FaultPlan& plan, std::span<iovec> pieces, std::string& got) {
  SocketPair pair = tcp_pair(ring);
  ring.set_faults(&plan);
  auto [none, received] =
      co_await both(send_pieces_then_end(pair.left, pieces), recv_all(pair.right));
  static_cast<void>(none);
  got = std::move(received);
  ring.set_faults(nullptr);
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  std::iota(text.begin(), text.end(), 0);
  return text;
}

TEST(FaultPlan, ShortensSendsAndReceivesWithoutLosingBytes) {
  auto ring = make_ring();
  FaultPlan plan(5);
  plan.chance(Opcode::kSend, 1, Fault::short_count(7))
      .chance(Opcode::kRecv, 0.7, Fault::short_count(3));
  const std::string text = pattern(4000);
  std::string got;
  ring->run(transfer(*ring, plan, text, got));
  EXPECT_EQ(got, text);
  EXPECT_GT(plan.injected(), 100U);
}

TEST(FaultPlan, ShortensSendsOfSeveralPieces) {
  auto ring = make_ring();
  FaultPlan plan(5);
  plan.chance(Opcode::kSendMsg, 0.8, Fault::short_count(11));
  std::string text = pattern(3000);
  std::array<iovec, 3> pieces{iovec{text.data(), 5}, iovec{text.data() + 5, 1000},
                              iovec{text.data() + 1005, text.size() - 1005}};
  std::string got;
  ring->run(transfer_pieces(*ring, plan, pieces, got));
  EXPECT_EQ(got, text);
}

TEST(FaultPlan, DelaysCompletionsBySomeIterations) {
  auto ring = make_ring();
  FaultPlan plan(9);
  plan.chance(Opcode::kRecv, 0.5, Fault::delay(4)).chance(Opcode::kSend, 0.5, Fault::delay(2));
  const std::string text = pattern(300'000);
  std::string got;
  ring->run(transfer(*ring, plan, text, got));
  EXPECT_EQ(got, text);
  EXPECT_GT(plan.injected(), 0U);
}

Task<Result<std::size_t>> receive(Socket& socket, std::span<std::byte> room) {
  const Result<std::size_t> received = co_await socket.recv(room);
  co_return received;
}

Task<void> scoped_receive(CancelScope& scope, Socket& socket, Result<std::size_t>& received) {
  std::array<std::byte, 16> room{};
  received = co_await in_scope(scope, receive(socket, room));
}

Task<void> cancel_after(Ring& ring, CancelScope& scope, int iterations) {
  for (int i = 0; i < iterations; ++i) co_await next_iteration(ring);
  scope.cancel();
}

Task<void> cancel_the_delayed(Ring& ring, FaultPlan& plan, Result<std::size_t>& received) {
  SocketPair pair = tcp_pair(ring);
  EXPECT_EQ(::send(pair.left.descriptor(), "abc", 3, 0), 3);
  ring.set_faults(&plan);
  {
    CancelScope scope;
    co_await both(scoped_receive(scope, pair.right, received), cancel_after(ring, scope, 3));
  }
  ring.set_faults(nullptr);
}

TEST(FaultPlan, DeliversAResultThatIsCancelledWhileItIsDelayed) {
  auto ring = make_ring();
  FaultPlan plan;
  plan.nth(Opcode::kRecv, 1, Fault::delay(10));
  Result<std::size_t> received = failure(EINVAL);
  ring->run(cancel_the_delayed(*ring, plan, received));
  EXPECT_EQ(received.value_or(0), 3U);
}

Task<std::string> collect(Socket& from, BufferRing& buffers) {
  std::string text;
  for (;;) {
    const Result<Lease> lease = co_await from.recv(buffers);
    EXPECT_TRUE(lease);
    if (!lease || !*lease) break;
    text += as_text(lease->bytes());
  }
  co_return text;
}

// Relays over provided buffers with all faults: bytes arrive in order, no lease is lost.
Task<void> pump(Socket& from, BufferRing& buffers, Socket& to) {
  for (;;) {
    const Result<Lease> lease = co_await from.recv(buffers);
    EXPECT_TRUE(lease);
    if (!lease || !*lease) break;
    const Result<> sent = co_await to.send_all(lease->bytes());
    EXPECT_TRUE(sent);
  }
  const Result<> shut = co_await to.shutdown_write();
  EXPECT_TRUE(shut);
}

Task<void> relay(Ring& ring, BufferRing& buffers, std::string_view text, int& finished) {
  SocketPair client = tcp_pair(ring);
  SocketPair backend = tcp_pair(ring);
  TaskGroup group(ring);
  group.spawn(pump(client.right, buffers, backend.left));
  group.spawn(send_then_end(client.left, text));
  const std::string got = co_await collect(backend.right, buffers);
  EXPECT_TRUE(got == text);
  co_await group.join();
  ++finished;
}

Task<void> relay_many(Ring& ring, FaultPlan& plan, BufferRing& buffers, std::string_view text,
                      int& finished) {
  ring.set_faults(&plan);
  TaskGroup group(ring);
  for (int i = 0; i < 20; ++i) group.spawn(relay(ring, buffers, text, finished));
  co_await group.join();
  ring.set_faults(nullptr);
}

TEST(FaultPlan, LosesNoByteInARelayUnderEveryFault) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    auto ring = make_ring({.entries = 8, .completion_entries = 16});
    Result<std::unique_ptr<BufferRing>> buffers = BufferRing::create(*ring, 512, 4);
    ASSERT_TRUE(buffers);
    FaultPlan plan(seed);
    plan.chance(Opcode::kRecv, 0.1, Fault::error(ENOBUFS))
        .chance(Opcode::kRecv, 0.2, Fault::short_count(100))
        .chance(Opcode::kRecv, 0.2, Fault::delay(3))
        .chance(Opcode::kSend, 0.3, Fault::short_count(50))
        .chance(Opcode::kSend, 0.2, Fault::delay(2));
    const std::string text = pattern(20'000);
    int finished = 0;
    ring->run(relay_many(*ring, plan, **buffers, text, finished));
    EXPECT_EQ(finished, 20);
    EXPECT_EQ((*buffers)->leased(), 0U);
    EXPECT_GT(plan.injected(), 100U);
  }
}

}  // namespace
}  // namespace sallyport::iouring
#endif
