#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "iouring/both.h"
#include "iouring/socket.h"
#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/scripted_peer.h"

/// A peer that asks for a new key again and again while a bulk of data comes (RFC 8446 4.6.3).
namespace sallyport::ktls::testing {

/// Takes `chunk` bytes at a time, asks at every `every`-th of these, twenty times at the most, and
/// opens everything at the end.
inline iouring::Task<void> take_and_ask(Shard& shard, iouring::Socket& wire, ScriptedPeer& peer,
                                        std::size_t chunk, int every, Words& words) {
  constexpr int kMostAsked = 20;
  Bytes heard;
  Bytes taken(chunk);
  int asked = 0;
  for (int i = 0;; ++i) {
    const auto size = co_await wire.recv(taken);
    if (!size || *size == 0) break;
    append(heard, std::span(taken).first(*size));
    if (i % every != every / 2 || asked == kMostAsked) continue;
    ++asked;
    const Bytes update = peer.key_update(KeyUpdateRequest::kUpdateRequested);
    const auto sent = co_await wire.send_all(update);
    EXPECT_TRUE(sent);
    co_await iterate(*shard.ring, 2);
  }
  words = peer.read(std::move(heard));
  const auto shut = co_await wire.shutdown_write();
  EXPECT_TRUE(shut);
}

inline iouring::Task<void> read_until_cut(RecordLayer& layer) {
  const Story story = co_await read_all(layer);
  EXPECT_EQ(story.end, Kind::kTruncated) << to_string(story.end);
}

inline iouring::Task<void> send_and_read(RecordLayer& layer, std::span<const std::byte> data) {
  co_await iouring::both(send_in_pieces_and_close(layer, data, 200'000, 1), read_until_cut(layer));
}

inline iouring::Task<void> both_of_them(iouring::Task<void> one, iouring::Task<void> other) {
  co_await iouring::both(std::move(one), std::move(other));
}

/// `data` arrives whole, each request is answered, and close_notify is the end; returns how many
/// answers there were.
inline std::size_t answers_amid_bulk(Shard& shard, iouring::Socket& wire, RecordLayer& layer,
                                     ScriptedPeer& peer, std::span<const std::byte> data,
                                     std::size_t chunk, int every) {
  Words words;
  shard.ring->run(both_of_them(send_and_read(layer, data),
                               take_and_ask(shard, wire, peer, chunk, every, words)));
  std::size_t bytes = 0;
  std::size_t updates = 0;
  for (const std::string& word : words) {
    if (word.starts_with("data:")) bytes += std::stoul(word.substr(5));
    if (word == "update:0") ++updates;
    EXPECT_NE(word, "unreadable");
  }
  EXPECT_EQ(bytes, data.size());
  EXPECT_EQ(updates, layer.counters().key_updates_sent);
  EXPECT_EQ(words.empty() ? "nothing" : words.back(), "alert:0");
  return updates;
}

}  // namespace sallyport::ktls::testing
