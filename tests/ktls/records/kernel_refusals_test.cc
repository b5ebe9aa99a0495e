// What is not handed over: the userspace layer goes on.
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/kernel_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::from_hex;
using testing::kernel_tls;
using testing::Kind;
using testing::kSuite;
using testing::Layer;
using testing::random_bytes;
using testing::ScriptedPeer;
using testing::Shard;
using testing::Story;

class KernelRefusals : public ::testing::Test {
 protected:
  std::optional<KtlsFallback> refusal(Layer& layer, const KernelTls& kernel) {
    const RecordLayer* const before = layer.get();
    auto handed = hand_to_kernel(layer, kernel, shard_.pools());
    if (handed) return std::nullopt;
    EXPECT_EQ(layer.get(), before);
    EXPECT_FALSE(handed.error().connection_lost);
    EXPECT_EQ(handed.error().sys_errno, 0) << "nobody has gone";
    return handed.error().reason;
  }
  void expect_alive(RecordLayer& layer, RecordLayer& other) {
    const Bytes data = random_bytes(30'000, 3);
    Story story;
    shard_.ring->run(
        [](RecordLayer& from, RecordLayer& to, const Bytes& bytes, Story& out) -> Task<void> {
          co_await both(testing::send_in_pieces_and_close(from, bytes, 10'000, 1),
                        testing::tell(to, out));
        }(layer, other, data, story));
    EXPECT_EQ(story.data, data);
    EXPECT_EQ(story.end, Kind::kCloseNotify);
  }
  struct Pair {
    Layer left, right;
  };
  Pair over(iouring::SocketPair sockets) {
    const SessionState state = testing::session_of(kSuite);
    return {userspace_records(std::move(sockets.left), state, shard_.pools()),
            userspace_records(std::move(sockets.right), testing::mirrored(state), shard_.pools())};
  }

  Shard shard_;
};

TEST_F(KernelRefusals, NameAKernelThatWasNotProbed) {
  Pair pair = over(iouring::tcp_pair(*shard_.ring));
  EXPECT_EQ(refusal(pair.left, KernelTls()), KtlsFallback::kNotProbed);
  expect_alive(*pair.left, *pair.right);
}

TEST_F(KernelRefusals, NameAKernelWithoutTls) {
  if (kernel_tls().usable()) GTEST_SKIP() << "this kernel has TLS (tests/vm/run --without tls)";
  if (testing::ktls_required()) FAIL() << kernel_tls().describe();
  Pair pair = over(iouring::tcp_pair(*shard_.ring));
  EXPECT_EQ(refusal(pair.left, kernel_tls()), KtlsFallback::kModuleAbsent);
  expect_alive(*pair.left, *pair.right);
}

TEST_F(KernelRefusals, NameASocketThatIsNoTcp) {
  SALLYPORT_NEEDS_KTLS();
  Pair pair = over(iouring::unix_pair(*shard_.ring));
  EXPECT_EQ(refusal(pair.left, kernel_tls()), KtlsFallback::kSocketUnsuitable);
  expect_alive(*pair.left, *pair.right);
}

TEST_F(KernelRefusals, NameAPlainLayer) {
  SALLYPORT_NEEDS_KTLS();
  iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
  Layer layer = plain_records(std::move(sockets.left), shard_.pools());
  EXPECT_EQ(refusal(layer, kernel_tls()), KtlsFallback::kSocketUnsuitable);
}

TEST_F(KernelRefusals, NameALayerThatHasEnded) {
  SALLYPORT_NEEDS_KTLS();
  Pair pair = over(iouring::tcp_pair(*shard_.ring));
  shard_.ring->run(close_it(*pair.left));
  EXPECT_EQ(refusal(pair.left, kernel_tls()), KtlsFallback::kUnsettled);
  Story story;
  shard_.ring->run(testing::tell(*pair.right, story));
  EXPECT_EQ(refusal(pair.right, kernel_tls()), KtlsFallback::kUnsettled);
  expect_alive(*pair.right, *pair.left);
}

TEST_F(KernelRefusals, NameALayerInTheMiddleOfAMessage) {
  SALLYPORT_NEEDS_KTLS();
  iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
  const SessionState state = testing::session_of(kSuite);
  Layer layer = userspace_records(std::move(sockets.right), state, shard_.pools());
  ScriptedPeer peer(shard_, testing::mirrored(state));
  Bytes half = peer.data(Bytes(10));
  append(half, peer.seal(ContentType::kHandshake, from_hex("18 0000")));
  ASSERT_EQ(::send(sockets.left.descriptor(), half.data(), half.size(), 0),
            static_cast<ssize_t>(half.size()));
  shard_.ring->run([](RecordLayer& l) -> Task<void> {
    Received received = co_await l.receive();
    EXPECT_EQ(received.size(), 10u);
  }(*layer));
  EXPECT_EQ(refusal(layer, kernel_tls()), KtlsFallback::kUnsettled);
}

TEST_F(KernelRefusals, NameASocketThatHasMovedIntoTheTable) {
  SALLYPORT_NEEDS_KTLS();
  if (!iouring::has_tables()) GTEST_SKIP() << iouring::kNoTables;
  iouring::RingOptions options;
  options.registered_descriptors = 8;
  shard_.begin_again(options);
  Pair pair = over(iouring::tcp_pair(*shard_.ring));
  shard_.ring->run([](RecordLayer& layer) -> Task<void> {
    const auto moved = co_await layer.socket().to_table();
    EXPECT_TRUE(moved);
  }(*pair.left));
  EXPECT_EQ(refusal(pair.left, kernel_tls()), KtlsFallback::kSocketUnsuitable);
  expect_alive(*pair.left, *pair.right);
}

}  // namespace
}  // namespace sallyport::ktls
