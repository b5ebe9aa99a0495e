// A server with Nagle's algorithm that has sent its tickets keeps a short answer until they are
// acknowledged, which TCP would delay by 40 ms.
//
// The tests ask no clock. Loopback delivers before a call returns: behind the layer's read the
// server has its acknowledgement.
#include "tests/ktls/records/acknowledge.h"

#include <optional>

#include "ktls/records/userspace_records.h"
#include "tests/ktls/records/scripted_peer_fixture.h"

namespace sallyport::ktls {
namespace {

using testing::kSuite;

/// In the ring's table, or not.
class Acknowledgement : public testing::ScriptedPeerFixture,
                        public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !iouring::has_tables()) GTEST_SKIP() << iouring::kNoTables;
    iouring::RingOptions options;
    options.registered_descriptors = 8;
    shard_.begin_again(options);
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    wire_ = std::move(sockets.left);
    const SessionState state = testing::session_of(kSuite);
    layer_ = userspace_records(std::move(sockets.right), state, shard_.pools(), {}, Role::kClient);
    peer_.emplace(shard_, testing::mirrored(state));
    if (GetParam()) shard_.ring->run(to_table(layer_->socket()));
    testing::delay_acknowledgements(*layer_, *shard_.ring);
  }

 private:
  static iouring::Task<void> to_table(iouring::Socket& socket) {
    const auto moved = co_await socket.to_table();
    EXPECT_TRUE(moved);
  }
};
INSTANTIATE_TEST_SUITE_P(InTable, Acknowledgement, ::testing::Bool());

TEST_P(Acknowledgement, IsSentForTicketsThatComeAlone) {
  put(peer_->seal(ContentType::kHandshake, testing::ticket()));
  shard_.ring->run(testing::take_nothing(*layer_));
  EXPECT_EQ(testing::unacknowledged_segments(wire_), 0U);
}

}  // namespace
}  // namespace sallyport::ktls
