// What connections cost whose records the kernel makes: time, threads, memory, descriptors; and
// what a socket that is full does to them.
#include <sys/resource.h>

#include "iouring/frame_memory.h"
#include "iouring/task_group.h"
#include "ktls/records/kernel_hand_off.h"
#include "tests/ktls/records/kernel_fixture.h"
#include "tests/support/proc.h"
#include "tests/support/wait.h"

namespace sallyport::ktls {
namespace {

using namespace std::chrono_literals;
using iouring::both;
using iouring::CancelScope;
using iouring::Socket;
using iouring::Task;
using testing::append;
using testing::Bytes;
using testing::KernelFixture;
using testing::Kind;
using testing::kSuite;
using testing::Layer;
using testing::random_bytes;
using testing::read_slowly;
using testing::ScriptedPeer;
using testing::send_and_expect;
using testing::Shard;
using testing::Story;
using testing::Words;

class KernelResources : public KernelFixture {};

/// shutdown(2) throws away what the kernel has sealed and TCP had no room for.
TEST_F(KernelResources, LosesNothingWhenItClosesOverAFullSocket) {
  std::mt19937_64 random(5);
  for (int run = 0; run < 20; ++run) {
    connect({.send_buffer = 20'000});
    const Bytes data = random_bytes(60'000 + random() % 100'000, 5);
    Bytes heard;
    shard_.ring->run([](Shard& s, Socket& w, RecordLayer& l, const Bytes& d,
                        Bytes& h) -> Task<void> {
      co_await both(testing::send_in_pieces_and_close(l, d, 40'000, 4), read_slowly(*s.ring, w, h));
    }(shard_, wire_, *layer_, data, heard));
    // What we count is what the kernel counted.
    const auto state = layer_->export_state();
    ASSERT_TRUE(state);
    const Words words = peer_->read(std::move(heard));
    std::size_t bytes = 0;
    for (const std::string& word : words) {
      if (word.starts_with("data:")) bytes += std::stoul(word.substr(5));
    }
    ASSERT_EQ(bytes, data.size()) << run;
    ASSERT_EQ(words.back(), "alert:0") << run;
    EXPECT_EQ(state->tx.rec_seq, words.size());
  }
}

TEST_F(KernelResources, SendsNothingAfterACancelledSend) {
  connect({.send_buffer = 20'000});
  shard_.ring->run([](Shard& shard, RecordLayer& layer) -> Task<void> {
    const Bytes data(30'000'000);
    CancelScope scope(co_await iouring::current_scope());
    co_await both(
        [](CancelScope& s, RecordLayer& l, const Bytes& d) -> Task<void> {
          const auto sent = co_await iouring::in_scope(s, l.send(Chunk::borrowed(d)));
          EXPECT_FALSE(sent);
          if (!sent) EXPECT_EQ(sent.error().failure, RecordFailure::kCancelled);
        }(scope, layer, data),
        [](Shard& sh, CancelScope& s) -> Task<void> {
          co_await testing::iterate(*sh.ring, 20);
          s.cancel();
        }(shard, scope));
    co_await send_and_expect(layer, RecordFailure::kPipe);
    const auto closed = co_await layer.send_close();
    EXPECT_FALSE(closed) << "no close_notify behind half of the data";
  }(shard_, *layer_));
  const Words words = last_words();
  for (const std::string& word : words) EXPECT_TRUE(word.starts_with("data:") || word == "cut");
}

// ---- no spin, no thread, no memory ----

TEST_F(KernelResources, SpendsNeitherTimeNorAThreadOnHalfARecord) {
  struct Peer {
    Socket wire;
    Layer layer;
    Bytes rest;
  };
  const std::size_t before = test::threads_of();
  const SessionState state = testing::session_of(kSuite);
  std::vector<Peer> peers;
  for (int i = 0; i < 30; ++i) {
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    ScriptedPeer peer(shard_, testing::mirrored(state));
    Bytes bytes = peer.data(Bytes(100));
    append(bytes, peer.data(Bytes(900)));
    append(bytes, peer.close_notify());
    // Half of the record is there before a receive waits for it; some with a whole one before.
    const std::size_t first = i % 2 == 0 ? 50 : 300;
    ASSERT_EQ(::send(sockets.left.descriptor(), bytes.data(), first, 0),
              static_cast<ssize_t>(first));
    Layer layer = hand_over(userspace_records(std::move(sockets.right), state, shard_.pools()));
    peers.push_back({std::move(sockets.left), std::move(layer),
                     Bytes(bytes.begin() + static_cast<long>(first), bytes.end())});
  }
  std::vector<Story> stories(peers.size());
  rusage used_before{};
  rusage used_after{};
  std::uint64_t iterations = 0;
  iouring::TaskGroup group(*shard_.ring);
  shard_.ring->run([](Shard& shard, std::vector<Peer>& all, std::vector<Story>& heard,
                      iouring::TaskGroup& tasks, rusage& from, rusage& until,
                      std::uint64_t& iterations, std::size_t threads_before) -> Task<void> {
    for (std::size_t i = 0; i < all.size(); ++i) {
      tasks.spawn(testing::tell(*all[i].layer, heard[i]));
    }
    co_await iouring::sleep_for(*shard.ring, 20ms);
    iterations = shard.ring->iterations();
    ::getrusage(RUSAGE_SELF, &from);
    co_await iouring::sleep_for(*shard.ring, 300ms);
    ::getrusage(RUSAGE_SELF, &until);
    iterations = shard.ring->iterations() - iterations;
    EXPECT_EQ(test::threads_of(), threads_before);
    for (Peer& peer : all) {
      for (const std::byte& byte : std::span(peer.rest).first(100)) {
        EXPECT_EQ(::send(peer.wire.descriptor(), &byte, 1, 0), 1);
      }
      co_await testing::iterate(*shard.ring, 1);
    }
    EXPECT_EQ(test::threads_of(), threads_before);
    for (Peer& peer : all) {
      const auto sent = co_await peer.wire.send_all(std::span(peer.rest).subspan(100));
      EXPECT_TRUE(sent);
    }
    co_await tasks.join();
  }(shard_, peers, stories, group, used_before, used_after, iterations, before));
  for (const Story& story : stories) {
    EXPECT_EQ(story.data.size(), 1000u);
    EXPECT_EQ(story.end, Kind::kCloseNotify);
  }
  EXPECT_LE(iterations, 100u);  // the timer's own
  const auto milliseconds = [](const rusage& used) {
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
  };
  EXPECT_LE(milliseconds(used_after) - milliseconds(used_before), 150);
}

Task<void> measure_idle(Shard& shard, std::vector<Layer>& layers, iouring::TaskGroup& group,
                        std::size_t& frame_bytes) {
  const std::size_t before = iouring::FrameMemory::live_bytes();
  std::vector<Story> stories(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    group.spawn(testing::tell(*layers[i], stories[i]));
  }
  co_await testing::iterate(*shard.ring, 3);
  shard.expect_idle();
  frame_bytes = (iouring::FrameMemory::live_bytes() - before) / layers.size();
  group.cancel_all();
  co_await group.join();
}

/// The frame of receive() alone is what the model adds to an idle connection; the reader of the
/// test is part of what is measured here.
TEST_F(KernelResources, WaitsIdleInASmallFrame) {
  std::vector<Layer> layers;
  for (int i = 0; i < 20; ++i) {
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    const SessionState state = testing::session_of(kSuite);
    layers.push_back(hand_over(userspace_records(std::move(sockets.left), state, shard_.pools())));
    layers.push_back(hand_over(
        userspace_records(std::move(sockets.right), testing::mirrored(state), shard_.pools())));
  }
  iouring::TaskGroup group(*shard_.ring);
  std::size_t bytes = 0;
  shard_.ring->run(measure_idle(shard_, layers, group, bytes));
  RecordProperty("frame_bytes", static_cast<int>(bytes));
  EXPECT_LE(bytes, 1300u);
  EXPECT_EQ(shard_.contexts.live_contexts(), 0u);
}

TEST_F(KernelResources, KeepsNothingOfAStormOfConnections) {
  const auto storm = [this](int connections) {
    for (int i = 0; i < connections; ++i) {
      connect();
      if (i % 3 == 0) wire_.reset();
      if (i % 3 == 1) put(peer_->data(Bytes(100)));
      if (i % 3 == 2) layer_->socket().reset();
    }
    layer_.reset();
    wire_ = Socket();
  };
  storm(20);
  const std::size_t open = test::descriptors_of();
  const long sockets = test::tcp_sockets();
  const long slab = test::slab_kib();
  storm(500);
  EXPECT_EQ(test::descriptors_of(), open);
  if (!testing::ktls_required()) return;  // others have sockets too
  EXPECT_LE(test::tcp_sockets(), sockets + 1);
  // The kernel held 3 to 4 KiB for each, and frees some of it in its own time.
  EXPECT_TRUE(test::eventually([&] { return test::slab_kib() < slab + 1000; }))
      << test::slab_kib() << " KiB of slab, " << slab << " before";
}

}  // namespace
}  // namespace sallyport::ktls
