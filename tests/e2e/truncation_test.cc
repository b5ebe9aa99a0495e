// A stream that ends without close_notify was cut: what came before is delivered, and
// then the backend is told by a reset, unless the route chose otherwise.
#include <atomic>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Truncation : public Scenario {
 protected:
  Transcript heard;
  Backend backend{listener(heard)};
  const std::string data = pseudo_random(700'000, 10);

  void start_with(const std::string& truncation) {
    start_for(backend, {"--policy",
                        dir.write("policy.json", R"({"routes": {"orders": {
                "allow": ["spiffe://example.org/**"], "truncation": ")" +
                                                     truncation + "\"}}}"),
                        "--half-close-timeout", "1s"});
  }
};

TEST_F(Truncation, BecomesAResetToTheBackendBehindWhatCameBefore) {
  start_with("reset");
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send(data));
  tls.shutdown_write();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(data));
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "client_truncated");
}

// A reset by SO_LINGER throws away what still waits to be sent: with a backend that is slower than
// the client, the tail of what the client had said was lost.
TEST_F(Truncation, WaitsForASlowBackendToTakeWhatCameBefore) {
  std::atomic<bool> may_read = false;
  Backend slow([&](Fd& socket) {
    wait_until("the client is gone", [&] { return may_read.load(); });
    listener(heard)(socket);
  });
  start_for(slow);
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send(data));
  tls.shutdown_write();
  gateway->wait_metric("received_bytes_total", {{"leg", "client"}},
                       static_cast<double>(data.size()));
  may_read = true;
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(heard.data().size(), data.size());
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(data));
}

TEST_F(Truncation, BecomesAResetWhereThePolicySaysSo) {
  start_with("reset");
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send("half a sent"));
  tls.shutdown_write();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(heard.data(), "half a sent");
}

TEST_F(Truncation, BecomesAnEndWhereThePolicySaysSo) {
  start_with("close");
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send(data));
  tls.shutdown_write();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kFin);
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(data));
}

TEST_F(Truncation, InTheMiddleOfARecordIsNeverACleanEnd) {
  start_with("reset");
  TlsClient tls = connect();
  ASSERT_TRUE(tls.send("whole"));
  heard.wait_size(5);
  // The header and a few bytes of a record that never comes.
  send_all(tls.socket(), std::string("\x17\x03\x03\x01\x00"
                                     "abc",
                                     8));
  tls.shutdown_write();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(heard.data(), "whole");
}

TEST_F(Truncation, AResetOfTheClientBecomesAResetToTheBackend) {
  start_with("reset");
  std::string from;
  {
    TlsClient tls = connect();
    from = tls.local_address();
    ASSERT_TRUE(tls.send("before"));
    heard.wait_size(6);
    tls.reset();
  }
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(gateway->wait_log({{"client", from}}).at("reason"), "client_reset");
}

}  // namespace
}  // namespace sallyport::test
