#pragma once

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <chrono>
#include <string>

#include "iouring/both.h"
#include "iouring/deadline.h"
#include "tests/iouring/socket_options.h"
#include "tests/ktls/records/layer_fixture.h"
#include "tests/ktls/records/scripted_peer_fixture.h"
#include "tests/ktls/records/tls_stat.h"

namespace sallyport::ktls::testing {

/// Reads one record, header and all; less at the end of the stream.
inline iouring::Task<void> read_record(iouring::Socket& wire, Bytes& record) {
  record.resize(kRecordHeaderSize);
  for (std::size_t have = 0, wanted = record.size(); have < wanted;) {
    const auto size = co_await wire.recv(std::span(record).subspan(have));
    if (!size || *size == 0) break;
    have += *size;
    if (have != kRecordHeaderSize || wanted != kRecordHeaderSize) continue;
    wanted += RecordHeader::parse(std::span(record).first<kRecordHeaderSize>()).length;
    record.resize(wanted);
  }
}
inline iouring::Task<void> read_record_and_cancel(iouring::Socket& wire, Bytes& record,
                                                  iouring::CancelScope& scope) {
  co_await read_record(wire, record);
  scope.cancel();
}

/// Receives until `scope` is cancelled; nothing must come that is for the caller.
inline iouring::Task<void> receive_nothing(iouring::CancelScope& scope, RecordLayer& layer) {
  Received received = co_await iouring::in_scope(scope, layer.receive());
  EXPECT_EQ(received.kind, Kind::kFailed) << received.size();
  EXPECT_EQ(received.error.failure, RecordFailure::kCancelled)
      << ktls::to_string(received.error.failure);
}

/// The kernel serves the layer's end.
///
/// Fails where kernel TLS was promised and is missing. In those guests each test ends with no
/// connection left in the kernel's count, and none that failed to decrypt unless the test says so.
class KernelFixture : public ScriptedPeerFixture {
 protected:
  struct Options {
    Bytes leftover = {};  ///< read behind the peer's Finished
    Role role = Role::kServer;
    SessionState state = session_of(kSuite);
    int send_buffer = 0;  ///< SO_SNDBUF of the layer's end
  };

  void SetUp() override {
    SALLYPORT_NEEDS_KTLS();
    stat_before_ = tls_stat();  // behind the probe, which makes connections too
  }

  void TearDown() override {
    layer_.reset();
    wire_ = iouring::Socket();
    if (!ktls_required()) return;
    TlsStat after = tls_stat();
    // What lay in the ring's table is closed by the kernel in its own time.
    for (int i = 0; i < 1000 && after["TlsCurrTxSw"] + after["TlsCurrRxSw"] != 0; ++i) {
      shard_.ring->run([](iouring::Ring& ring) -> iouring::Task<void> {
        co_await iouring::sleep_for(ring, std::chrono::milliseconds(1));
      }(*shard_.ring));
      after = tls_stat();
    }
    EXPECT_EQ(after["TlsCurrTxSw"], 0);
    EXPECT_EQ(after["TlsCurrRxSw"], 0);
    EXPECT_EQ(after["TlsTxSw"] - stat_before_["TlsTxSw"], connections_);
    EXPECT_EQ(after["TlsDecryptError"] == stat_before_["TlsDecryptError"], !tampered_);
    EXPECT_EQ(after["TlsTxRekeyError"] + after["TlsRxRekeyError"], 0);
  }

  void connect(const Options& options) {
    layer_.reset();
    iouring::SocketPair sockets = iouring::tcp_pair(*shard_.ring);
    wire_ = std::move(sockets.left);
    if (options.send_buffer != 0) {
      ASSERT_TRUE(set_option(sockets.right, SOL_SOCKET, SO_SNDBUF, options.send_buffer));
    }
    ASSERT_TRUE(set_option(sockets.right, IPPROTO_TCP, TCP_NODELAY, 1));
    ASSERT_TRUE(set_option(wire_, IPPROTO_TCP, TCP_NODELAY, 1));
    layer_ = hand_over(userspace_records(std::move(sockets.right), options.state, shard_.pools(),
                                         options.leftover, options.role),
                       options.role);
    peer_.emplace(shard_, mirrored(options.state));
  }
  void connect() { connect(Options{}); }

  virtual Layer hand_over(Layer userspace, Role role = Role::kServer) {
    ++connections_;
    return into_kernel(std::move(userspace), shard_.pools(), role);
  }

  /// The peer offended, and that was the end: it is told by the alert of `failure`, nothing else.
  void expect_answered(const Story& story, RecordFailure failure) {
    expect_failure(story, failure);
    shard_.ring->run(send_and_expect(*layer_, RecordFailure::kPipe));
    const auto alert = static_cast<int>(alert_for(failure).value());
    EXPECT_EQ(last_words(), Words{"alert:" + std::to_string(alert)});
  }
  /// Everything that the layer said, after which it is gone.
  Words last_words() {
    layer_.reset();
    shard_.ring->run(iterate(*shard_.ring, 3));
    Bytes bytes;
    Bytes chunk(100'000);
    ssize_t size = 0;
    while ((size = ::recv(wire_.descriptor(), chunk.data(), chunk.size(), 0)) > 0) {
      append(bytes, std::span(chunk).first(static_cast<std::size_t>(size)));
    }
    return peer_->read(std::move(bytes));
  }
  /// The next record that it has sent, as a word.
  std::string next_word() {
    Bytes record;
    shard_.ring->run(read_record(wire_, record));
    return word_of(std::move(record));
  }
  /// The next record that it sends while it receives, without there being anything to receive.
  std::string word_while_listening() {
    Bytes record;
    shard_.ring->run(
        [](RecordLayer& layer, iouring::Socket& wire, Bytes& heard) -> iouring::Task<void> {
          iouring::CancelScope listening(co_await iouring::current_scope());
          co_await iouring::both(receive_nothing(listening, layer),
                                 read_record_and_cancel(wire, heard, listening));
        }(*layer_, wire_, record));
    return word_of(std::move(record));
  }

  long connections_ = 0;   ///< handed over
  bool tampered_ = false;  ///< some record is not to be decrypted

 private:
  std::string word_of(Bytes record) {
    const Words words = peer_->read(std::move(record));
    return words.size() == 1 ? words.front() : "not one record";
  }

  TlsStat stat_before_;
};

/// Sends `bytes` in pieces that end at `cuts`, and lets the loop iterate in between.
inline iouring::Task<void> put_pieces(iouring::Ring& ring, iouring::Socket& wire,
                                      std::span<const std::byte> bytes,
                                      std::span<const std::size_t> cuts) {
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    if (cut <= at || cut >= bytes.size()) continue;
    const auto sent = co_await wire.send_all(bytes.subspan(at, cut - at));
    EXPECT_TRUE(sent);
    at = cut;
    co_await iterate(ring, 2);
  }
  const auto sent = co_await wire.send_all(bytes.subspan(at));
  EXPECT_TRUE(sent);
}
inline iouring::Task<void> hear_pieces(Shard& shard, iouring::Socket& wire, RecordLayer& layer,
                                       std::span<const std::byte> bytes,
                                       std::span<const std::size_t> cuts, Story& story) {
  co_await iouring::both(tell(layer, story), put_pieces(*shard.ring, wire, bytes, cuts));
}

/// Reads everything, slowly at first, so that the sender's socket is full.
inline iouring::Task<void> read_slowly(iouring::Ring& ring, iouring::Socket& wire, Bytes& heard) {
  Bytes chunk(3000);
  co_await iouring::sleep_for(ring, std::chrono::milliseconds(20));
  for (int i = 0;; ++i) {
    const auto size = co_await wire.recv(chunk);
    if (!size || *size == 0) break;
    append(heard, std::span(chunk).first(*size));
    if (i < 30) co_await iouring::sleep_for(ring, std::chrono::milliseconds(1));
  }
}

}  // namespace sallyport::ktls::testing
