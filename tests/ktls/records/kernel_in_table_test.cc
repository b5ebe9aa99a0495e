// The kernel model on sockets that have moved into the ring's table.
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/acknowledge.h"
#include "tests/ktls/records/kernel_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::Socket;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::close_it;
using testing::KernelFixture;
using testing::Kind;
using testing::kSuite;
using testing::random_bytes;
using testing::read_slowly;
using testing::ScriptedPeer;
using testing::send_one;
using testing::Shard;
using testing::Story;
using testing::Words;

class KernelInTable : public KernelFixture {
 protected:
  void SetUp() override {
    KernelFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!iouring::has_tables()) GTEST_SKIP() << iouring::kNoTables;
    iouring::RingOptions options;
    options.registered_descriptors = 8;
    shard_.begin_again(options);
  }
  void connect_in_table(const Options& options = {}) {
    connect(options);
    shard_.ring->run([](RecordLayer& layer) -> Task<void> {
      const auto moved = co_await layer.socket().to_table();
      EXPECT_TRUE(moved);
    }(*layer_));
    ASSERT_TRUE(layer_->socket().in_table());
  }
};

TEST_F(KernelInTable, AcknowledgesTicketsThatComeAlone) {
  connect_in_table({.role = Role::kClient});
  testing::delay_acknowledgements(*layer_, *shard_.ring);
  put(peer_->seal(ContentType::kHandshake, testing::ticket()));
  shard_.ring->run(testing::take_nothing(*layer_));  // it is no data:
  shard_.ring->run(testing::take_nothing(*layer_));  // it is read as what it is
  EXPECT_EQ(testing::unacknowledged_segments(wire_), 0U);
}

TEST_F(KernelInTable, DeliversAndClosesAlsoOverAFullSocket) {
  connect_in_table({.send_buffer = 20'000});
  const Bytes data = random_bytes(100'000, 5);
  put(peer_->data(data));
  put(peer_->close_notify());
  const Story story = hear();
  EXPECT_EQ(story.data, data);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
  Bytes heard;
  shard_.ring->run([](Shard& s, Socket& w, RecordLayer& l, const Bytes& d, Bytes& h) -> Task<void> {
    co_await both(testing::send_in_pieces_and_close(l, d, 40'000, 4), read_slowly(*s.ring, w, h));
  }(shard_, wire_, *layer_, data, heard));
  const Words words = peer_->read(std::move(heard));
  ASSERT_FALSE(words.empty());
  EXPECT_EQ(words.back(), "alert:0");
  EXPECT_EQ(layer_->export_state(), std::nullopt);
}

TEST_F(KernelInTable, SendsItsAlertAfterABadRecord) {
  tampered_ = true;
  connect_in_table();
  const Bytes good = peer_->data(Bytes(20));
  Bytes bad = peer_->data(Bytes(10));
  bad.back() ^= std::byte{1};
  const Story story = hear({good, bad});
  EXPECT_EQ(story.data.size(), 20u);
  expect_failure(story, RecordFailure::kBadRecordMac);
  EXPECT_EQ(last_words(), Words{"alert:20"});
}

TEST_F(KernelInTable, InstallsTheReceiveKeyBehindWhatWasReadAhead) {
  ScriptedPeer peer(shard_, testing::mirrored(testing::session_of(kSuite)));
  const Bytes data = random_bytes(100, 6);
  Bytes bytes = peer.data(data);
  append(bytes, peer.data(data));
  append(bytes, peer.close_notify());
  connect_in_table({.leftover = Bytes(bytes.begin(), bytes.begin() + 130)});
  put(std::span(bytes).subspan(130));
  const Story story = hear();
  EXPECT_EQ(story.data.size(), 200u);
  EXPECT_EQ(story.end, Kind::kCloseNotify);
}

TEST_F(KernelInTable, ReKeysBothWays) {
  SALLYPORT_NEEDS_REKEY();
  connect_in_table();
  put(peer_->key_update(KeyUpdateRequest::kUpdateRequested));
  put(peer_->data(Bytes(50)));
  put(peer_->close_notify());
  EXPECT_EQ(hear().data.size(), 50u);
  shard_.ring->run(send_one(*layer_, 60));
  shard_.ring->run(close_it(*layer_));
  EXPECT_EQ(last_words(), (Words{"update:0", "data:60", "alert:0"}));
}

}  // namespace
}  // namespace sallyport::ktls
