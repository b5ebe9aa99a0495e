#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>

#include "iouring/block_pool.h"
#include "iouring/buffer_ring.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"
#include "ktls/records/cipher_contexts.h"
#include "ktls/records/kernel_hand_off.h"
#include "ktls/records/plain_records.h"
#include "ktls/records/record_layer.h"
#include "ktls/records/userspace_records.h"
#include "tests/iouring/fixture.h"
#include "tests/ktls/bytes.h"
#include "tests/ktls/records/ktls_required.h"

/// What the tests of record layers share: a shard without a gateway.
namespace sallyport::ktls::testing {

using Kind = Received::Kind;
using Layer = std::unique_ptr<RecordLayer>;

inline constexpr auto kSuite = CipherSuite::kAes128GcmSha256;

/// Prints a kind by name.
inline std::string to_string(Kind kind) {
  switch (kind) {
    case Kind::kData:
      return "data";
    case Kind::kCloseNotify:
      return "close_notify";
    case Kind::kEndOfStream:
      return "end of stream";
    case Kind::kTruncated:
      return "truncated";
    case Kind::kFailed:
      return "failed";
  }
  return "?";
}

/// A ring and the pools of one shard. Layers die before it.
struct Shard {
  explicit Shard(const iouring::RingOptions& options = {}) { begin_again(options); }
  /// Another ring; nothing of the old one may be in use.
  void begin_again(const iouring::RingOptions& options) {
    lent.reset();
    whole.reset();
    small.reset();
    ring = iouring::make_ring(options);
    small = std::move(*iouring::BufferRing::create(*ring, 4096, 16));
    whole = std::move(*iouring::BufferRing::create(*ring, kWholeBytes, 4));
    lent.emplace(*small, *whole, blocks, contexts);
  }

  std::unique_ptr<iouring::Ring> ring;
  std::unique_ptr<iouring::BufferRing> small, whole;
  iouring::TimerWheel timers{std::chrono::steady_clock::now()};
  iouring::BlockPool blocks{timers};
  CipherContexts contexts;
  std::optional<RecordPools> lent;

  RecordPools& pools() { return *lent; }
  void expect_idle() const {
    EXPECT_EQ(small->leased(), 0u);
    EXPECT_EQ(whole->leased(), 0u);
    EXPECT_EQ(blocks.live_blocks(), 0u);
  }
};

/// `layer`, a userspace one, handed over to the kernel. The test has asked for
/// SALLYPORT_NEEDS_KTLS().
inline Layer into_kernel(Layer layer, RecordPools& pools, Role role = Role::kServer) {
  auto handed = hand_to_kernel(layer, kernel_tls(), pools, role);
  if (handed) return std::move(*handed);
  ADD_FAILURE() << "not handed over: " << to_string(handed.error().reason) << " "
                << iouring::errno_name(handed.error().sys_errno);
  std::abort();
}

/// The bytes of what was received, appended to `to`.
inline void append(Bytes& to, Received& received) {
  for (const iovec& span : received.data()) {
    append(to, {static_cast<const std::byte*>(span.iov_base), span.iov_len});
  }
}

/// Everything up to the end, and what the end was.
struct Story {
  Bytes data;
  Kind end = Kind::kData;
  RecordError error;
};

inline iouring::Task<Story> read_all(RecordLayer& layer) {
  Story story;
  while (true) {
    Received received = co_await layer.receive();
    if (received.kind != Kind::kData) {
      story.end = received.kind;
      story.error = received.error;
      co_return story;
    }
    EXPECT_GT(received.size(), 0u);
    append(story.data, received);
  }
}

inline iouring::Task<void> tell(RecordLayer& layer, Story& story) {
  story = co_await read_all(layer);
}

inline iouring::Task<void> send_one(RecordLayer& layer, std::size_t size) {
  const Bytes data(size);
  const auto sent = co_await layer.send(Chunk::borrowed(data));
  EXPECT_TRUE(sent) << to_string(sent.error().failure) << " " << sent.error().sys_errno;
}
/// A send that fails with `failure`.
inline iouring::Task<void> send_and_expect(RecordLayer& layer, RecordFailure failure) {
  const Bytes data(10);
  const auto sent = co_await layer.send(Chunk::borrowed(data));
  EXPECT_FALSE(sent);
  if (!sent) EXPECT_EQ(sent.error().failure, failure) << ktls::to_string(sent.error().failure);
}
/// Until it is cancelled.
inline iouring::Task<void> send_what_it_takes(RecordLayer& layer, std::span<const std::byte> data) {
  [[maybe_unused]] const auto sent = co_await layer.send(Chunk::borrowed(data));
}
inline iouring::Task<void> close_it(RecordLayer& layer) {
  const auto closed = co_await layer.send_close();
  EXPECT_TRUE(closed) << to_string(closed.error().failure);
}

/// Sends `data` in pieces of changing sizes.
inline iouring::Task<void> send_in_pieces(RecordLayer& layer, std::span<const std::byte> data,
                                          std::size_t largest, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!data.empty()) {
    const std::size_t size = std::min<std::size_t>(data.size(), 1 + random() % largest);
    const auto sent = co_await layer.send(Chunk::borrowed(data.first(size)));
    EXPECT_TRUE(sent) << to_string(sent.error().failure);
    if (!sent) co_return;
    data = data.subspan(size);
  }
}

inline iouring::Task<void> send_in_pieces_and_close(RecordLayer& layer,
                                                    std::span<const std::byte> data,
                                                    std::size_t largest, std::uint64_t seed) {
  co_await send_in_pieces(layer, data, largest, seed);
  co_await close_it(layer);
}

/// Lets the loop iterate, so that everything that can complete completes.
inline iouring::Task<void> iterate(iouring::Ring& ring, int count) {
  for (int i = 0; i < count; ++i) co_await next_iteration(ring);
}

}  // namespace sallyport::ktls::testing
