// Megabytes each way, whatever the network does to their boundaries: compared by SHA-256.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

constexpr std::size_t kMany = kSanitized ? 4U << 20 : 16U << 20;

class Bulk : public Scenario {};

TEST_F(Bulk, UploadArrivesWhole) {
  Backend backend(digest());
  start_for(backend);
  const std::string data = pseudo_random(kMany, 3);
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send(data));
  tls.close_notify();
  EXPECT_EQ(tls.receive_all(), sha256_hex(data));
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  const LogLine line = gateway->wait_log({{"reason", "done"}});
  EXPECT_EQ(line.at("received_bytes"), std::to_string(data.size()));
  EXPECT_EQ(line.at("sent_bytes"), "64");
}

TEST_F(Bulk, DownloadArrivesWhole) {
  Backend backend(source(kMany, 4));
  start_for(backend);
  TlsClient tls = connect();
  const std::string data = tls.receive_all();
  EXPECT_EQ(sha256_hex(data), sha256_hex(pseudo_random(kMany, 4)));
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
}

TEST_F(Bulk, BothWaysAtOnceUnderRandomSegmentation) {
  Backend backend(echo());
  start_for(backend);
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    ClientOptions options = as(client);
    options.segment_below = seed * seed * 700;
    options.seed = seed;
    TlsClient tls = connect(options);
    const std::string data = pseudo_random(2U << 20, static_cast<unsigned>(seed));
    EXPECT_EQ(sha256_hex(tls.exchange(data, data.size())), sha256_hex(data)) << "seed " << seed;
  }
}

TEST_F(Bulk, RecordsSplitAtEveryByteAreDeliveredOnce) {
  Backend backend(echo());
  start_for(backend);
  ClientOptions options = as(client);
  options.segment_below = 1;
  TlsClient tls = connect(options);
  ASSERT_TRUE(tls.connected());
  for (const std::size_t size : {1U, 2U, 100U, 5000U}) {
    const std::string data = pseudo_random(size, static_cast<unsigned>(size));
    EXPECT_TRUE(tls.echo(data)) << size;
  }
}

TEST_F(Bulk, ManyTinyRecordsArriveInOrder) {
  Backend backend(echo());
  start_for(backend);
  TlsClient tls = connect();
  std::string all;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece = std::to_string(i) + ",";
    tls.hold(piece);
    all += piece;
  }
  ASSERT_TRUE(tls.flush());
  EXPECT_EQ(tls.receive(all.size()), all);
}

TEST_F(Bulk, BytesGluedToFinishedReachTheBackendOnce) {
  Transcript heard;
  Backend backend(listener(heard));
  start_for(backend);
  ClientOptions options = as(client);
  // The flight with Finished is kept back and leaves together with the first data.
  static std::string kept;
  kept.clear();
  options.tamper = [](std::string& ciphertext, std::size_t flight) {
    if (flight == 1) {
      kept = std::exchange(ciphertext, {});
    } else if (flight == 2) {
      ciphertext = kept + ciphertext;
    }
  };
  TlsClient tls = connect(options);
  ASSERT_TRUE(tls.connected());
  const std::string early = pseudo_random(40'000, 5);
  tls.hold(early);
  tls.hold("tail");
  tls.flush();
  tls.close_notify();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kFin);
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(early + "tail"));
}

TEST_F(Bulk, AServerThatSpeaksFirstIsHeard) {
  Backend backend(named("220 ready\r\n"));
  start_for(backend);
  TlsClient tls = connect();
  EXPECT_EQ(tls.receive(11), "220 ready\r\n");
}

TEST_F(Bulk, KeyUpdatesInBothDirectionsLoseNothing) {
  Backend backend(echo());
  start_for(backend);
  TlsClient tls = connect();
  for (int round = 0; round < 6; ++round) {
    tls.key_update(round % 2 == 0);
    const std::string data = pseudo_random(200'000, static_cast<unsigned>(round));
    if (!follows_key_updates()) {
      tls.receive_all();
      EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"),
                "keyupdate_unsupported");
      gateway->wait_metric("tls_keyupdates_total", {{"direction", "receive"}}, 1);
      return;
    }
    ASSERT_TRUE(tls.echo(data)) << round;
  }
  tls.close_notify();
  tls.receive_all();
  // Three of the six asked for an answer.
  gateway->wait_metric("tls_keyupdates_total", {}, 6 + 3);
}

TEST_F(Bulk, AFloodOfKeyUpdatesIsEnded) {
  Backend backend(echo());
  start_for(backend);
  TlsClient tls = connect();
  ASSERT_TRUE(tls.echo("hello"));
  // Messages without data between them justify nothing; some bound must come.
  for (int i = 0; i < 200 && gateway->metrics().sum("connections") > 0; ++i) {
    for (int update = 0; update < 100; ++update) tls.key_update(false);
  }
  tls.receive_all();
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"),
            follows_key_updates() ? "keyupdate_flood" : "keyupdate_unsupported");
}

TEST_F(Bulk, ASlowReaderHoldsTheBackendBackAndLosesNothing) {
  // More than the sockets on the way can hold.
  Backend backend(source(kMany, 6));
  start_for(backend);
  TlsClient slow = connect();
  // Others are served while this one does not read at all.
  TlsClient other = connect();
  EXPECT_EQ(sha256_hex(other.receive_all()), sha256_hex(pseudo_random(kMany, 6)));
  EXPECT_EQ(sha256_hex(slow.receive_all()), sha256_hex(pseudo_random(kMany, 6)));
}

TEST_F(Bulk, BackPressureBoundsTheMemoryOfAStalledConnection) {
  Backend backend(stall());
  start_for(backend);
  TlsClient tls = connect();
  const std::string data = pseudo_random(48U << 20, 7);
  // Sends until the path takes no more: a gateway that buffered without bound would take it all.
  std::size_t sent = 0;
  std::size_t left = 0;
  while (sent < data.size() && left == 0) {
    tls.hold(std::string_view(data).substr(sent, 16384));
    sent += 16384;
    eventually([&] { return (left = tls.flush_some()) == 0; }, std::chrono::seconds(2));
  }
  EXPECT_GT(left, 0U) << "the gateway swallowed everything";
  tls.reset();
}

}  // namespace
}  // namespace sallyport::test
