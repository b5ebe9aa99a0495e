// Either side may finish first; the other goes on until it, too, is done.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class HalfClose : public Scenario {};

TEST_F(HalfClose, OfTheClientReachesTheBackendWhichGoesOnSending) {
  const std::string answer = pseudo_random(500'000, 8);
  Backend backend([&](Fd& socket) {
    std::string question;
    if (receive_all(socket, question) != StreamEnd::kFin) return;
    send_all(socket, question + answer);
  });
  start_for(backend);
  TlsClient tls = connect();
  tls.send("question ");
  tls.close_notify();
  EXPECT_EQ(tls.receive_all(), "question " + answer);
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "done");
}

TEST_F(HalfClose, OfTheBackendReachesTheClientWhichGoesOnSending) {
  Transcript heard;
  Backend backend([&](Fd& socket) {
    send_all(socket, "that is all");
    ::shutdown(socket.get(), SHUT_WR);
    listener(heard)(socket);
  });
  start_for(backend);
  TlsClient tls = connect();
  EXPECT_EQ(tls.receive_all(), "that is all");
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  const std::string data = pseudo_random(500'000, 9);
  EXPECT_TRUE(tls.send(data));
  tls.close_notify();
  EXPECT_EQ(heard.wait_end(), StreamEnd::kFin);
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(data));
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "done");
}

TEST_F(HalfClose, EndsAfterItsTimeout) {
  Backend backend(stall());
  start_for(backend, {"--half-close-timeout", "300ms"});
  TlsClient tls = connect();
  tls.send("x");
  tls.close_notify();
  tls.receive_all();
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"),
            "half_close_timeout");
}

TEST_F(HalfClose, OfTheBackendEndsAfterItsTimeoutToo) {
  Backend backend(source(10, 1));
  start_for(backend, {"--half-close-timeout", "300ms"});
  TlsClient tls = connect();
  EXPECT_EQ(tls.receive(10).size(), 10U);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"),
            "half_close_timeout");
}

TEST_F(HalfClose, ACloseNotifyAndFinTogetherAreStillAnOrderlyEnd) {
  Backend backend(digest());
  start_for(backend);
  TlsClient tls = connect();
  tls.send("data");
  tls.close_notify();
  tls.shutdown_write();
  EXPECT_EQ(tls.receive_all(), sha256_hex("data"));
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
  EXPECT_EQ(gateway->wait_log({{"client", tls.local_address()}}).at("reason"), "done");
}

}  // namespace
}  // namespace sallyport::test
