// How a connection comes to the kernel: nothing lost, doubled or out of order, wherever it is cut.
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/kernel_fixture.h"
#include "tests/support/proc.h"

namespace sallyport::ktls {
namespace {

using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::can_rekey;
using testing::close_it;
using testing::from_hex;
using testing::hear_pieces;
using testing::KernelFixture;
using testing::Kind;
using testing::kSuite;
using testing::random_bytes;
using testing::ScriptedPeer;
using testing::send_one;
using testing::Story;
using testing::tls_stat;
using testing::Words;

class KernelHandOff : public KernelFixture {};

TEST_F(KernelHandOff, MovesTheCountersOfTheKernel) {
  auto before = tls_stat();
  connect();
  auto open = tls_stat();
  EXPECT_EQ(open["TlsTxSw"], before["TlsTxSw"] + 1);
  EXPECT_EQ(open["TlsRxSw"], before["TlsRxSw"] + 1);
  EXPECT_EQ(open["TlsCurrTxSw"], before["TlsCurrTxSw"] + 1);
  EXPECT_EQ(open["TlsCurrRxSw"], before["TlsCurrRxSw"] + 1);
  const Story story = hear({peer_->data(Bytes(100)), peer_->close_notify()});
  EXPECT_EQ(story.data.size(), 100u);
  EXPECT_EQ(last_words(), Words{});
  auto after = tls_stat();
  EXPECT_EQ(after["TlsCurrTxSw"], before["TlsCurrTxSw"]);
  EXPECT_EQ(after["TlsCurrRxSw"], before["TlsCurrRxSw"]);
}

// RFC 8446 5.3.
TEST_F(KernelHandOff, GoesOnAtTheSequenceNumbersReached) {
  for (const CipherSuite suite : testing::kSuites) {
    SessionState state = testing::session_of(suite);
    state.rx.rec_seq = 0x0102030405060708;
    state.tx.rec_seq = 3;
    connect({.state = state});
    const Bytes content = random_bytes(1000, 1);
    put(peer_->data(content));
    put(peer_->close_notify());
    EXPECT_EQ(hear().data, content);
    shard_.ring->run(send_one(*layer_, 40'000));
    const auto reached = layer_->export_state();
    ASSERT_TRUE(reached);
    EXPECT_EQ(reached->tx.rec_seq, 6u);
    EXPECT_EQ(reached->rx.rec_seq, 0x010203040506070au);
    shard_.ring->run(close_it(*layer_));
    EXPECT_EQ(last_words(), (Words{"data:16384", "data:16384", "data:7232", "alert:0"}));
  }
}

/// A stream of everything that may come, and what it amounts to.
struct Stream {
  Bytes bytes;
  Bytes content;
};
Stream stream_of(ScriptedPeer& peer, bool key_update) {
  Stream stream;
  stream.content = random_bytes(60, 2);
  const std::span content(stream.content);
  append(stream.bytes, peer.data(content.first(10)));
  append(stream.bytes, peer.seal(ContentType::kHandshake, from_hex("04 000003 010203")));
  append(stream.bytes, peer.data({}));
  append(stream.bytes, peer.inner(content.subspan(10, 20), 23, 30));
  if (key_update) append(stream.bytes, peer.key_update(KeyUpdateRequest::kUpdateNotRequested));
  append(stream.bytes, peer.data(content.subspan(30)));
  append(stream.bytes, peer.close_notify());
  append(stream.bytes, random_bytes(30, 3));  // ignored
  return stream;
}

TEST_F(KernelHandOff, DeliversRecordsCutAtEveryByte) {
  for (std::size_t cut = 0, size = 1; cut < size; ++cut) {
    connect({.role = Role::kClient});
    const Stream stream = stream_of(*peer_, can_rekey());
    size = stream.bytes.size();
    Story story;
    shard_.ring->run(hear_pieces(shard_, wire_, *layer_, stream.bytes, {{cut}}, story));
    ASSERT_EQ(story.data, stream.content) << "cut at " << cut;
    ASSERT_EQ(story.end, Kind::kCloseNotify) << "cut at " << cut;
  }
  shard_.expect_idle();
}

TEST_F(KernelHandOff, TakesOverAtEveryByteOfWhatWasReadAhead) {
  const std::size_t threads_before = test::threads_of();
  for (std::size_t cut = 0, size = 1; cut <= size; ++cut) {
    // The layer takes the leftover at construction, so the stream is sealed beforehand.
    ScriptedPeer peer(shard_, testing::mirrored(testing::session_of(kSuite)));
    // Read ahead, a KeyUpdate is opened in userspace: every kernel can.
    const Stream stream = stream_of(peer, can_rekey() || cut > 160);
    size = stream.bytes.size();
    const std::span bytes(stream.bytes);
    connect({.leftover = Bytes(bytes.begin(), bytes.begin() + static_cast<long>(cut)),
             .role = Role::kClient});
    EXPECT_EQ(layer_->unopened().size(), cut);
    // The other direction does not wait for the rest of a record.
    shard_.ring->run(send_one(*layer_, 7));
    EXPECT_EQ(next_word(), "data:7");
    Story story;
    shard_.ring->run(hear_pieces(shard_, wire_, *layer_, bytes.subspan(cut), {{5, 100}}, story));
    ASSERT_EQ(story.data, stream.content) << "cut at " << cut;
    ASSERT_EQ(story.end, Kind::kCloseNotify) << "cut at " << cut;
  }
  shard_.expect_idle();
  EXPECT_EQ(test::threads_of(), threads_before);
}

TEST_F(KernelHandOff, LosesNoByteWhateverTheSegments) {
  const int runs = testing::ktls_required() ? 300 : 1000;
  for (int seed = 1; seed <= runs; ++seed) {
    std::mt19937_64 random(static_cast<std::uint64_t>(seed));
    const CipherSuite suite = testing::kSuites[random() % std::size(testing::kSuites)];
    const SessionState state = testing::session_of(suite);
    ScriptedPeer peer(shard_, testing::mirrored(state));
    Bytes bytes;
    const Bytes content = random_bytes(1 + random() % 60'000, random());
    for (std::size_t at = 0; at < content.size();) {
      const std::size_t size =
          std::min<std::size_t>(content.size() - at, random() % (random() % 4 == 0 ? 16'385 : 300));
      append(bytes, peer.data(std::span(content).subspan(at, size)));
      at += size;
    }
    append(bytes, peer.close_notify());
    const std::size_t ahead =
        std::min<std::size_t>(bytes.size(), random() % 3 * (random() % 20'000));
    connect({.leftover = Bytes(bytes.begin(), bytes.begin() + static_cast<long>(ahead)),
             .state = state});
    std::vector<std::size_t> cuts;
    for (std::uint64_t i = random() % 12; i > 0; --i) {
      cuts.push_back(random() % (bytes.size() - ahead + 1));
    }
    std::ranges::sort(cuts);
    Story story;
    shard_.ring->run(
        hear_pieces(shard_, wire_, *layer_, std::span(bytes).subspan(ahead), cuts, story));
    ASSERT_TRUE(story.data == content) << "seed " << seed;
    ASSERT_EQ(story.end, Kind::kCloseNotify) << "seed " << seed;
  }
  shard_.expect_idle();
}

TEST_F(KernelHandOff, AnswersAKeyUpdateThatWasReadAhead) {
  ScriptedPeer peer(shard_, testing::mirrored(testing::session_of(kSuite)));
  Bytes bytes = peer.data(Bytes(5));
  append(bytes, peer.key_update(KeyUpdateRequest::kUpdateRequested));
  append(bytes, peer.data(Bytes(6)));
  append(bytes, peer.close_notify());
  connect({.leftover = bytes});
  const Story story = hear();
  if (can_rekey()) {
    EXPECT_EQ(story.data.size(), 11u);
    EXPECT_EQ(story.end, Kind::kCloseNotify);
    shard_.ring->run(send_one(*layer_, 9));
    EXPECT_EQ(last_words(), (Words{"update:0", "data:9"}));
  } else {
    EXPECT_EQ(story.data.size(), 5u);
    expect_failure(story, RecordFailure::kKeyUpdateUnsupported);
    EXPECT_EQ(last_words(), Words{"alert:80"});
  }
}

Task<void> hear_and_send(RecordLayer& layer, std::size_t size) {
  Received received = co_await layer.receive();
  EXPECT_EQ(received.size(), size);
  co_await send_one(layer, 3);
}

TEST_F(KernelHandOff, CountsOnFromWhereUserspaceWas) {
  iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
  wire_ = std::move(sockets.left);
  const SessionState state = testing::session_of(kSuite);
  layer_ = userspace_records(std::move(sockets.right), state, shard_.pools());
  peer_.emplace(shard_, testing::mirrored(state));
  put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  put(peer_->data(Bytes(100)));
  shard_.ring->run(hear_and_send(*layer_, 100));
  layer_ = hand_over(std::move(layer_));
  put(peer_->data(Bytes(200)));
  shard_.ring->run(hear_and_send(*layer_, 200));
  EXPECT_EQ(layer_->counters().received_bytes, 300u);
  EXPECT_EQ(layer_->counters().sent_bytes, 6u);
  EXPECT_EQ(layer_->counters().key_updates_received, 1u);
  EXPECT_EQ(layer_->counters().key_updates_sent, 1u);
  EXPECT_EQ(last_words(), (Words{"update:0", "data:3", "data:3"}));
}

}  // namespace
}  // namespace sallyport::ktls
