// At its limits the gateway says so before any cryptography, and serves again once there is room.
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class Limits : public Scenario {
 protected:
  /// What an honest client begins with.
  static std::string client_hello() {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    BIO* const out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
    EXPECT_EQ(SSL_connect(ssl.get()), -1);
    const char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    return {data, static_cast<std::size_t>(size)};
  }
  Fd begin(const std::string& bytes) const {
    Fd socket = connect_to(gateway->address());
    send_all(socket, bytes);
    return socket;
  }

  std::vector<Fd> halves_;
};

TEST_F(Limits, OnConnectionsShedsInPlaintextBeforeAnyCrypto) {
  Backend backend(echo());
  start_for(backend, {"--max-connections", "2"});
  TlsClient one = connect();
  TlsClient two = connect();
  ASSERT_TRUE(one.echo("one"));
  ASSERT_TRUE(two.echo("two"));
  {
    const Fd third = connect_to(gateway->address());
    std::string answer;
    receive_all(third, answer);
    EXPECT_EQ(answer, std::string("\x15\x03\x03\x00\x02\x02\x50", 7));
    EXPECT_EQ(gateway->wait_log({{"client", local_address(third).to_string()}}).at("reason"),
              "shed");
  }
  TlsClient fourth = connect();
  EXPECT_FALSE(fourth.connected());
  EXPECT_EQ(fourth.alert().value_or(-1), kInternalError);
  gateway->wait_metric("connections_closed_total", {{"reason", "shed"}}, 2);
  EXPECT_EQ(gateway->metrics().sum("connections"), 2);

  one.close_notify();
  one.receive_all();
  one.abrupt_close();
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
  EXPECT_TRUE(two.echo("still here"));
}

TEST_F(Limits, OnHandshakesInFlightDoNotTouchEstablishedConnections) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--max-handshakes", "2", "--handshake-timeout", "2s"});
  TlsClient live = connect();
  ASSERT_TRUE(live.echo("hello"));
  // All in one moment: a place that one leaves is worth nothing to the next, whose time is up, too.
  const std::string hello = client_hello();
  std::vector<Fd> silent;
  for (int i = 0; i < 12; ++i) silent.push_back(connect_to(gateway->address()));
  for (const Fd& each : silent) send_all(each, hello);
  EXPECT_TRUE(live.echo(pseudo_random(100'000, 15)));
  // All of them end, by being shed or by the timeout, and none is served.
  const std::vector<LogLine> lines = gateway->wait_logs(12);
  int shed = 0;
  for (const LogLine& line : lines) {
    const std::string& reason = line.at("reason");
    EXPECT_TRUE(reason == "shed" || reason == "handshake_timeout") << reason;
    if (reason == "shed") ++shed;
  }
  EXPECT_GE(shed, 1);
  EXPECT_TRUE(served());
}

// Places among the handshakes used to be given to whoever had sent a byte.
TEST_F(Limits, OnHandshakesInFlightLeaveRoomWhileOthersSendHalfAHello) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--max-handshakes", "1", "--handshake-timeout", "1h"});
  const std::string hello = client_hello();
  for (const std::size_t sent : {std::size_t{1}, std::size_t{4}, std::size_t{6}, hello.size() - 1})
    halves_.push_back(begin(hello.substr(0, sent)));
  // What is no ClientHello but could be the beginning of a record, of the largest size there is.
  halves_.push_back(begin(std::string("\x14\x03\x03\x41\x00", 5)));
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("tls_handshakes_in_flight"), 5);
  // One of them goes on after all.
  send_all(halves_[3], hello.substr(hello.size() - 1));
  std::string answer;
  receive(halves_[3], answer, 1);
  EXPECT_EQ(answer.substr(0, 1), "\x16");
  halves_.clear();
  gateway->wait_metric("tls_handshakes_total", {{"result", "peer_connection_closed"}}, 5);
}

TEST_F(Limits, LogsTheMaximumAtTheStart) {
  Backend backend(echo());
  start_for(backend);
  gateway->wait_err({"connections"});
}

// Not under UBSan: its vptr check opens a pipe to look at an object, and without descriptors takes
// every object for an invalid one.
#if !__has_feature(undefined_behavior_sanitizer)
TEST_F(Limits, SurvivesRunningOutOfDescriptors) {
  Backend backend(echo());
  discover({backend.address()});
  std::vector<std::string> command{"/bin/sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\"",
                                   sallyport_program()};
  const std::vector<std::string> all = flags({"--shards", "1"});
  command.insert(command.end(), all.begin(), all.end());
  gateway = std::make_unique<Gateway>(Gateway::Command{command});
  // More than it can hold: some are served, the rest shed or left waiting, and it recovers.
  {
    std::vector<Fd> many;
    for (int i = 0; i < 120; ++i) many.push_back(connect_to(gateway->address()));
    EXPECT_TRUE(gateway->process().running());
  }
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
}
#endif

}  // namespace
}  // namespace sallyport::test
