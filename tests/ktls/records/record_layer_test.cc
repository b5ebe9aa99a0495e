// The record contract, whatever the model: each test runs over every model, both ends the same.
#include "ktls/records/record_layer.h"

#include <gtest/gtest.h>

#include "iouring/both.h"
#include "iouring/faults.h"
#include "tests/iouring/socket_options.h"
#include "tests/ktls/records/layer_fixture.h"

namespace sallyport::ktls {
namespace {

using iouring::both;
using iouring::CancelScope;
using iouring::SocketPair;
using iouring::Task;
using testing::Bytes;
using testing::Kind;
using testing::Layer;
using testing::random_bytes;
using testing::read_all;
using testing::Shard;
using testing::Story;

/// What makes the records at each end.
struct Model {
  RecordModel left;
  RecordModel right;
  testing::Protection protection;
};

struct LayerPair {
  Layer left;
  Layer right;
};

class RecordContract : public ::testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    const auto& [left, right, protection] = GetParam();
    if (left != RecordModel::kKernel && right != RecordModel::kKernel) return;
    SALLYPORT_NEEDS_KTLS();
  }

  bool plain() const { return GetParam().left == RecordModel::kPlain; }
  Kind clean_end() const { return plain() ? Kind::kEndOfStream : Kind::kCloseNotify; }

  LayerPair pair_over(SocketPair sockets) {
    if (plain()) {
      return {plain_records(std::move(sockets.left), shard_.pools()),
              plain_records(std::move(sockets.right), shard_.pools())};
    }
    const auto [version, suite] = GetParam().protection;
    const SessionState state = testing::session_of(suite, 7, version);
    LayerPair layers{userspace_records(std::move(sockets.left), state, shard_.pools()),
                     userspace_records(std::move(sockets.right), testing::mirrored(state),
                                       shard_.pools(), {}, Role::kClient)};
    if (GetParam().left == RecordModel::kKernel) {
      layers.left = testing::into_kernel(std::move(layers.left), shard_.pools());
    }
    if (GetParam().right == RecordModel::kKernel) {
      layers.right = testing::into_kernel(std::move(layers.right), shard_.pools(), Role::kClient);
    }
    return layers;
  }
  LayerPair pair() { return pair_over(iouring::tcp_pair(*shard_.ring)); }
  void run(Task<void> task) { shard_.ring->run(std::move(task)); }

  Shard shard_;
};

Task<void> say_and_hear(RecordLayer& from, RecordLayer& to, const Bytes& data, Story& story) {
  co_await both(testing::send_in_pieces_and_close(from, data, data.size(), 1),
                testing::tell(to, story));
}

TEST_P(RecordContract, DeliversDataThenTheEnd) {
  const LayerPair layers = pair();
  const Bytes data = random_bytes(100, 1);
  Story story;
  run(say_and_hear(*layers.left, *layers.right, data, story));
  EXPECT_EQ(story.data, data);
  EXPECT_EQ(story.end, clean_end()) << testing::to_string(story.end);
  EXPECT_EQ(layers.left->counters().sent_bytes, 100u);
  EXPECT_EQ(layers.right->counters().received_bytes, 100u);
}

Task<void> all_four(RecordLayer& left, RecordLayer& right, const Bytes& up, const Bytes& down,
                    std::size_t largest, Story& heard_left, Story& heard_right) {
  co_await both(
      [](RecordLayer& l, RecordLayer& r, const Bytes& u, const Bytes& d,
         std::size_t n) -> Task<void> {
        co_await both(testing::send_in_pieces_and_close(l, u, n, 2),
                      testing::send_in_pieces_and_close(r, d, n, 3));
      }(left, right, up, down, largest),
      [](RecordLayer& l, RecordLayer& r, Story& hl, Story& hr) -> Task<void> {
        co_await both(testing::tell(l, hl), testing::tell(r, hr));
      }(left, right, heard_left, heard_right));
}

TEST_P(RecordContract, CarriesMegabytesBothWaysAtOnceInOrder) {
  for (const std::size_t largest : {900, 20'000, 300'000}) {
    const LayerPair layers = pair();
    const Bytes up = random_bytes(testing::bulk(largest < 1000 ? 300'000 : 4'000'000), 4);
    const Bytes down = random_bytes(testing::bulk(largest < 1000 ? 400'000 : 3'000'000), 5);
    Story heard_left, heard_right;
    run(all_four(*layers.left, *layers.right, up, down, largest, heard_left, heard_right));
    EXPECT_TRUE(heard_right.data == up);
    EXPECT_TRUE(heard_left.data == down);
    EXPECT_EQ(heard_left.end, clean_end());
    EXPECT_EQ(heard_right.end, clean_end());
    EXPECT_EQ(layers.left->counters().sent_bytes, up.size());
    EXPECT_EQ(layers.left->counters().received_bytes, down.size());
  }
  shard_.expect_idle();
}

/// Relays both ways between two layers, as the gateway does.
Task<void> pump(RecordLayer& from, RecordLayer& to) {
  while (true) {
    Received received = co_await from.receive();
    if (received.kind != Kind::kData) {
      const auto closed = co_await to.send_close();
      EXPECT_TRUE(closed);
      co_return;
    }
    const auto sent = co_await to.send(std::move(received));
    EXPECT_TRUE(sent);
  }
}

Task<void> relay(RecordLayer& client, RecordLayer& backend) {
  co_await both(pump(client, backend), pump(backend, client));
}

Task<void> across_a_relay(LayerPair& outer, LayerPair& inner, const Bytes& up, const Bytes& down,
                          Story& heard_left, Story& heard_right) {
  co_await both(all_four(*outer.left, *inner.right, up, down, 100'000, heard_left, heard_right),
                relay(*outer.right, *inner.left));
}

TEST_P(RecordContract, RelaysFromAnyModelToPlainAndBack) {
  LayerPair outer = pair();
  const auto sockets = [&] { return iouring::tcp_pair(*shard_.ring); };
  SocketPair plain = sockets();
  LayerPair inner{plain_records(std::move(plain.left), shard_.pools()),
                  plain_records(std::move(plain.right), shard_.pools())};
  const Bytes up = random_bytes(testing::bulk(3'000'000), 6);
  const Bytes down = random_bytes(testing::bulk(5'000'000), 7);
  Story heard_left, heard_right;
  run(across_a_relay(outer, inner, up, down, heard_left, heard_right));
  EXPECT_TRUE(heard_right.data == up);
  EXPECT_TRUE(heard_left.data == down);
  EXPECT_EQ(heard_left.end, clean_end());
  EXPECT_EQ(heard_right.end, Kind::kEndOfStream);
  shard_.expect_idle();
}

TEST_P(RecordContract, RelaysFromAnyModelToTheOther) {
  LayerPair outer = pair();
  LayerPair inner = pair();
  const Bytes up = random_bytes(testing::bulk(3'000'000), 6);
  const Bytes down = random_bytes(testing::bulk(5'000'000), 7);
  Story heard_left, heard_right;
  run(across_a_relay(outer, inner, up, down, heard_left, heard_right));
  EXPECT_TRUE(heard_right.data == up);
  EXPECT_TRUE(heard_left.data == down);
  EXPECT_EQ(heard_left.end, clean_end());
  EXPECT_EQ(heard_right.end, clean_end());
  shard_.expect_idle();
}

Task<void> half_close(RecordLayer& left, RecordLayer& right, Kind clean_end) {
  const auto closed = co_await left.send_close();
  EXPECT_TRUE(closed);
  Received end = co_await right.receive();
  EXPECT_EQ(end.kind, clean_end);
  const Bytes data = random_bytes(50'000, 8);
  const auto sent = co_await right.send(Chunk::borrowed(data));
  EXPECT_TRUE(sent);
  const auto closed_too = co_await right.send_close();
  EXPECT_TRUE(closed_too);
  const Story story = co_await read_all(left);
  EXPECT_EQ(story.data, data);
  EXPECT_EQ(story.end, clean_end);
}

TEST_P(RecordContract, GoesOnSendingAfterThePeerClosed) {
  const LayerPair layers = pair();
  run(half_close(*layers.left, *layers.right, clean_end()));
}

Task<void> ask_again(RecordLayer& left, RecordLayer& right, Kind clean_end) {
  const auto closed = co_await left.send_close();
  EXPECT_TRUE(closed);
  for (int i = 0; i < 3; ++i) {
    Received end = co_await right.receive();
    EXPECT_EQ(end.kind, clean_end);
  }
}

TEST_P(RecordContract, KeepsReturningTheEnd) {
  const LayerPair layers = pair();
  run(ask_again(*layers.left, *layers.right, clean_end()));
}

Task<void> vanish(Layer& left, RecordLayer& right, Kind expected) {
  const Bytes data = random_bytes(100, 9);
  const auto sent = co_await left->send(Chunk::borrowed(data));
  EXPECT_TRUE(sent);
  left.reset();
  const Story story = co_await read_all(right);
  EXPECT_EQ(story.data, data);
  EXPECT_EQ(story.end, expected) << testing::to_string(story.end);
}

TEST_P(RecordContract, TellsAnEndFromATruncation) {
  LayerPair layers = pair();
  run(vanish(layers.left, *layers.right, plain() ? Kind::kEndOfStream : Kind::kTruncated));
}

Task<void> reset(Layer& left, RecordLayer& right) {
  left->socket().reset();
  const Story story = co_await read_all(right);
  EXPECT_EQ(story.end, Kind::kFailed);
  EXPECT_EQ(story.error.failure, RecordFailure::kReset) << to_string(story.error.failure);
  const Bytes data = random_bytes(100, 9);
  const auto sent = co_await right.send(Chunk::borrowed(data));
  EXPECT_FALSE(sent);
}

TEST_P(RecordContract, ReportsAReset) {
  LayerPair layers = pair();
  run(reset(layers.left, *layers.right));
}

Task<void> receive_into(RecordLayer& layer, Received& received) {
  received = co_await layer.receive();
}

Task<void> cancel_a_little_later(iouring::Ring& ring, CancelScope& scope) {
  co_await testing::iterate(ring, 3);
  scope.cancel();
}

Task<void> cancelled_then_resumed(Shard& shard, RecordLayer& left, RecordLayer& right) {
  Received received;
  {
    CancelScope scope(co_await iouring::current_scope());
    co_await both(
        [](CancelScope& s, Task<void> task) -> Task<void> {
          co_await iouring::in_scope(s, std::move(task));
        }(scope, receive_into(right, received)),
        cancel_a_little_later(*shard.ring, scope));
  }
  EXPECT_EQ(received.kind, Kind::kFailed);
  EXPECT_EQ(received.error.failure, RecordFailure::kCancelled);

  const Bytes data = random_bytes(30'000, 10);
  const auto sent = co_await left.send(Chunk::borrowed(data));
  EXPECT_TRUE(sent);
  const auto closed = co_await left.send_close();
  EXPECT_TRUE(closed);
  const Story story = co_await read_all(right);
  EXPECT_EQ(story.data, data);
}

TEST_P(RecordContract, ReceivesOnAfterACancelledReceive) {
  const LayerPair layers = pair();
  run(cancelled_then_resumed(shard_, *layers.left, *layers.right));
}

Task<void> wait_idle(Shard& shard, RecordLayer& right) {
  Received received;
  CancelScope scope(co_await iouring::current_scope());
  co_await both(
      [](CancelScope& s, Task<void> task) -> Task<void> {
        co_await iouring::in_scope(s, std::move(task));
      }(scope, receive_into(right, received)),
      [](Shard& sh, CancelScope& s) -> Task<void> {
        co_await testing::iterate(*sh.ring, 3);
        sh.expect_idle();
        s.cancel();
      }(shard, scope));
}

Task<void> busy_then_idle(Shard& shard, RecordLayer& left, RecordLayer& right, const Bytes& data) {
  Bytes heard;
  co_await both(testing::send_in_pieces(left, data, 200'000, 1),
                [](RecordLayer& layer, Bytes& to, std::size_t wanted) -> Task<void> {
                  while (to.size() < wanted) {
                    Received received = co_await layer.receive();
                    EXPECT_EQ(received.kind, Kind::kData);
                    if (received.kind != Kind::kData) co_return;
                    testing::append(to, received);
                  }
                }(right, heard, data.size()));
  EXPECT_TRUE(heard == data);
  co_await wait_idle(shard, right);
}

TEST_P(RecordContract, HoldsNoBufferWhileIdleAlsoAfterHavingBeenBusy) {
  const LayerPair layers = pair();
  run(wait_idle(shard_, *layers.right));
  const Bytes data = random_bytes(testing::bulk(2'000'000), 11);
  run(busy_then_idle(shard_, *layers.left, *layers.right, data));
}

Task<void> stuck_sender(Shard& shard, RecordLayer& left, const Bytes& data, bool& failed) {
  CancelScope scope(co_await iouring::current_scope());
  co_await both(
      [](CancelScope& s, RecordLayer& l, const Bytes& d, bool& f) -> Task<void> {
        const auto sent = co_await iouring::in_scope(s, l.send(Chunk::borrowed(d)));
        f = !sent && sent.error().failure == RecordFailure::kCancelled;
      }(scope, left, data, failed),
      [](Shard& sh, CancelScope& s) -> Task<void> {
        co_await testing::iterate(*sh.ring, 50);
        s.cancel();
      }(shard, scope));
}

TEST_P(RecordContract, EndsABlockedSenderWhenCancelled) {
  SocketPair sockets = iouring::tcp_pair(*shard_.ring);
  ASSERT_TRUE(set_option(sockets.left, SOL_SOCKET, SO_SNDBUF, 20'000));
  ASSERT_TRUE(set_option(sockets.right, SOL_SOCKET, SO_RCVBUF, 20'000));
  const LayerPair layers = pair_over(std::move(sockets));
  const Bytes data(4'000'000);  // which nothing reads
  bool failed = false;
  run(stuck_sender(shard_, *layers.left, data, failed));
  EXPECT_TRUE(failed);
  shard_.expect_idle();
}

Task<void> send_nothing(RecordLayer& left, RecordLayer& right) {
  const auto nothing = co_await left.send(Chunk());
  EXPECT_TRUE(nothing);
  const auto empty = co_await left.send(Chunk::borrowed({}));
  EXPECT_TRUE(empty);
  const auto closed = co_await left.send_close();
  EXPECT_TRUE(closed);
  const Story story = co_await read_all(right);
  EXPECT_TRUE(story.data.empty());
}

TEST_P(RecordContract, SendsNothingForAnEmptyChunk) {
  const LayerPair layers = pair();
  run(send_nothing(*layers.left, *layers.right));
}

TEST_P(RecordContract, NamesItsModel) {
  const LayerPair layers = pair();
  EXPECT_EQ(layers.left->rx_model(), GetParam().left);
  EXPECT_EQ(layers.left->tx_model(), GetParam().left);
  EXPECT_EQ(layers.right->rx_model(), GetParam().right);
  EXPECT_EQ(layers.right->tx_model(), GetParam().right);
  EXPECT_EQ(layers.left->export_state().has_value(), !plain());
}

#ifdef SALLYPORT_FAULTS
TEST_P(RecordContract, SurvivesShortCountsAndDelays) {
  using iouring::Fault;
  using iouring::Opcode;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    iouring::FaultPlan plan(seed);
    for (const Opcode opcode : {Opcode::kRecv, Opcode::kSend, Opcode::kSendMsg}) {
      plan.chance(opcode, 0.10, Fault::short_count(1))
          .chance(opcode, 0.20, Fault::short_count(7))
          .chance(opcode, 0.30, Fault::short_count(1999))
          .chance(opcode, 0.20, Fault::delay(2));
    }
    const LayerPair layers = pair();
    const Bytes up = random_bytes(300'000, seed);
    const Bytes down = random_bytes(200'000, seed + 100);
    Story heard_left, heard_right;
    shard_.ring->set_faults(&plan);
    run(all_four(*layers.left, *layers.right, up, down, 50'000, heard_left, heard_right));
    shard_.ring->set_faults(nullptr);
    EXPECT_GT(plan.injected(), 0u);
    EXPECT_TRUE(heard_right.data == up);
    EXPECT_TRUE(heard_left.data == down);
    EXPECT_EQ(heard_left.end, clean_end());
    EXPECT_EQ(heard_right.end, clean_end());
  }
}

Task<void> send_once(RecordLayer& left, const Bytes& data, RecordLayer::SendResult& result) {
  result = co_await left.send(Chunk::borrowed(data));
}

TEST_P(RecordContract, ReportsTheErrorOfASend) {
  for (const auto& [error, failure] :
       {std::pair{ECONNRESET, RecordFailure::kReset}, std::pair{EPIPE, RecordFailure::kPipe},
        std::pair{ENOBUFS, RecordFailure::kSocket}}) {
    const LayerPair layers = pair();
    iouring::FaultPlan plan;
    plan.nth(iouring::Opcode::kSend, 1, iouring::Fault::error(error));
    plan.nth(iouring::Opcode::kSendMsg, 1, iouring::Fault::error(error));
    shard_.ring->set_faults(&plan);
    const Bytes data = random_bytes(100, 1);
    RecordLayer::SendResult result;
    run(send_once(*layers.left, data, result));
    shard_.ring->set_faults(nullptr);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().failure, failure);
    EXPECT_EQ(result.error().sys_errno, error);
  }
}
#endif

std::vector<Model> every_model() {
  std::vector<Model> models{{RecordModel::kPlain, RecordModel::kPlain, testing::kProtections[0]}};
  constexpr auto kUserspace = RecordModel::kUserspace;
  constexpr auto kKernel = RecordModel::kKernel;
  for (const auto& [left, right] :
       {std::pair{kUserspace, kUserspace}, std::pair{kKernel, kKernel},
        std::pair{kKernel, kUserspace}, std::pair{kUserspace, kKernel}}) {
    for (const auto& protection : testing::kProtections) {
      models.push_back({left, right, protection});
    }
  }
  return models;
}

std::string name_of(const ::testing::TestParamInfo<Model>& info) {
  const auto& [left, right, protection] = info.param;
  std::string text(to_string(left));
  if (left == RecordModel::kPlain) return text;
  if (left != right) text += "_facing_" + std::string(to_string(right));
  return text + "_" + testing::to_string(protection);
}

INSTANTIATE_TEST_SUITE_P(EachModel, RecordContract, ::testing::ValuesIn(every_model()), name_of);

}  // namespace
}  // namespace sallyport::ktls
