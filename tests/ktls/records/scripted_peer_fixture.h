#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <initializer_list>
#include <optional>
#include <span>

#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/scripted_peer.h"

namespace sallyport::ktls::testing {

/// A connection whose one end is a record layer, and whose other end the test plays by hand: it
/// holds the keys, and chooses every byte and where the stream is cut.
class ScriptedPeerFixture : public ::testing::Test {
 protected:
  /// Puts bytes on the wire; they fit into the socket.
  void put(std::span<const std::byte> bytes) {
    ASSERT_EQ(::send(wire_.descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void finish() { ::shutdown(wire_.descriptor(), SHUT_WR); }

  Story hear() {
    Story story;
    shard_.ring->run(tell(*layer_, story));
    return story;
  }
  /// Hears `records`, whose order is that of the calls which sealed them, and a FIN.
  Story hear(std::initializer_list<Bytes> records) {
    for (const Bytes& record : records) put(record);
    finish();
    return hear();
  }
  static void expect_failure(const Story& story, RecordFailure failure) {
    EXPECT_EQ(story.end, Kind::kFailed) << to_string(story.end);
    EXPECT_EQ(story.error.failure, failure) << ktls::to_string(story.error.failure);
  }

  Shard shard_;
  iouring::Socket wire_;
  Layer layer_;
  std::optional<ScriptedPeer> peer_;
};

}  // namespace sallyport::ktls::testing
