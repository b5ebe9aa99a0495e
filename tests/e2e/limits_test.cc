// At its limits the gateway says so before any cryptography, and serves again once there is room.
#include <chrono>
#include <csignal>

#include "iouring/sanitizers.h"
#include "tests/e2e/scenario.h"
#include "tests/support/client_hello.h"

namespace sallyport::test {
namespace {

class Limits : public Scenario {
 protected:
  Fd begin(const std::string& bytes) const {
    Fd socket = connect_to(gateway->address());
    send_all(socket, bytes);
    return socket;
  }

  /// The first `size` bytes of the message in `record`, in records of at most `most` bytes.
  static std::string in_records(const std::string& record, std::size_t most, std::size_t size) {
    const std::string message = record.substr(5, size);
    std::string records;
    for (std::size_t at = 0; at < message.size(); at += most) {
      const std::string part = message.substr(at, most);
      records += record.substr(0, 3);
      records += static_cast<char>(part.size() >> 8);
      records += static_cast<char>(part.size() & 0xff);
      records += part;
    }
    return records;
  }

  std::vector<Fd> silent_;
};

// The places of connections that only wait for their backend are for new clients.
TEST_F(Limits, OnConnectionsEndWhatLingersFirst) {
  Backend backend(stall());
  start_for(backend, {"--max-connections", "4", "--shards", "2"});
  for (int i = 0; i < 4; ++i) {
    TlsClient tls = connect();
    ASSERT_TRUE(tls.send("a command"));
    tls.abrupt_close();
    gateway->wait_metric("connections_lingering", {{"route", "orders"}}, i + 1);
  }
  std::vector<TlsClient> others;
  for (int i = 0; i < 4; ++i) {
    others.push_back(connect());
    ASSERT_TRUE(others.back().send("another"));
  }
  gateway->wait_metric("received_bytes_total", {{"leg", "client"}}, 4 * 9 + 4 * 7);
  EXPECT_EQ(gateway->wait_logs(4).size(), 4U) << "those that lingered have ended";
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("connections_lingering"), 0);
  EXPECT_EQ(metrics.sum("connections_closed_total", {{"reason", "shed"}}), 0);
}

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

// A client that is waited for held a place of --max-handshakes: a hundred bytes of silent clients
// made all others wait until the handshake timeout.
TEST_F(Limits, OnHandshakesCountNoClientThatIsWaitedFor) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--max-handshakes", "1", "--handshake-timeout", "1h"});
  const std::string hello = client_hello();
  const std::vector<std::string> beginnings{
      hello.substr(0, 1), hello.substr(0, 4), hello.substr(0, 6), hello.substr(0, hello.size() - 1),
      // What is no ClientHello but could be the beginning of a record, of the largest size there
      // is.
      std::string("\x14\x03\x03\x41\x00", 5),
      // Whole records of half a ClientHello: of one byte, and of all but the last.
      std::string("\x16\x03\x01\x00\x01\x01", 6), in_records(hello, 100, hello.size() - 6)};
  for (const std::string& beginning : beginnings) silent_.push_back(begin(beginning));
  // Whole ones, whose ServerHello is never answered.
  for (int i = 0; i < 3; ++i) silent_.push_back(begin(hello));
  for (std::size_t i = beginnings.size(); i < silent_.size(); ++i) {
    std::string answer;
    receive(silent_[i], answer, 1);
    EXPECT_EQ(answer.substr(0, 1), "\x16");
  }
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("tls_handshakes_in_flight"),
            static_cast<double>(silent_.size()));
  // One of them goes on after all.
  send_all(silent_[3], hello.substr(hello.size() - 1));
  std::string answer;
  receive(silent_[3], answer, 1);
  EXPECT_EQ(answer.substr(0, 1), "\x16");
  const auto silent = static_cast<double>(silent_.size());
  silent_.clear();
  gateway->wait_metric("tls_handshakes_total", {{"result", "peer_connection_closed"}}, silent);
}

// A waiting handshake holds 50 to 65 KiB.
TEST_F(Limits, OnHandshakeMemoryShedTheClientThatWaitedLongest) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--handshake-memory", "1M", "--handshake-timeout", "1h"});
  while (gateway->metrics().sum("tls_handshakes_total", {{"result", "shed"}}) < 1) {
    ASSERT_LT(silent_.size(), 30U);
    silent_.push_back(begin(client_hello()));
    std::string answer;
    receive(silent_.back(), answer, 1);
    ASSERT_EQ(answer.substr(0, 1), "\x16");
  }
  EXPECT_GT(silent_.size(), 10U);
  EXPECT_EQ(gateway->wait_log({{"reason", "shed"}}).at("client"),
            local_address(silent_.front()).to_string());
  EXPECT_TRUE(served());
  silent_.clear();
}

// While clients of another address wait, more of them and longer, this one is not shed.
TEST_F(Limits, OnHandshakeMemoryShedNoneForTheClientsOfAnotherAddress) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--handshake-memory", "1M", "--handshake-timeout", "1h"});
  const std::string hello = client_hello();
  const auto add_other = [&] {
    silent_.push_back(connect_to(gateway->address(), "127.0.0.2:0"));
    send_all(silent_.back(), hello);
    std::string answer;
    receive(silent_.back(), answer, 1);
    EXPECT_EQ(answer.substr(0, 1), "\x16");
  };
  const auto shed = [&] {
    return gateway->metrics().sum("tls_handshakes_total", {{"result", "shed"}});
  };
  while (shed() < 1) {
    ASSERT_LT(silent_.size(), 30U);
    add_other();
  }
  const Fd slow = begin(hello.substr(0, 100));
  for (int i = 0; i < 3; ++i) add_other();
  gateway->wait_metric("tls_handshakes_total", {{"result", "shed"}}, 4);
  send_all(slow, hello.substr(100));
  std::string answer;
  receive(slow, answer, 1);
  EXPECT_EQ(answer.substr(0, 1), "\x16");
  silent_.clear();
}

// Nine bytes, which announce a ClientHello of 128 KiB, made OpenSSL take 150 KiB, and what was shed
// was freed much later: the process grew by a gigabyte.
TEST_F(Limits, OnHandshakeMemoryHoldAgainstHellosOfAnySize) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--max-handshakes", "8", "--handshake-memory", "2M"});
  EXPECT_TRUE(served());
  const long before = gateway->rss_kib();
  const std::string whole = client_hello();
  const std::vector<std::string> hellos{
      std::string("\x16\x03\x01\x00\x04\x01\x01\xff\x00", 9),  // 128 KiB
      std::string("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", 9),  // 16 KiB in a record
      std::string("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", 9) + std::string(16000, 'x'),
      whole,
  };
  for (const std::string& hello : hellos) {
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 500; ++i) silent_.push_back(begin(hello));
      silent_.clear();
    }
  }
  EXPECT_TRUE(eventually([&] { return bool{served()}; }));
  if (iouring::kSanitized) return;  // a sanitizer keeps what was freed
  EXPECT_LT(gateway->rss_kib() - before, 160 * 1024) << "of 1,200 MiB";
}

// A client that was refused kept its slot while the close lingered, for a second.
TEST_F(Limits, OnHandshakesCountNoClientThatIsRefused) {
  Backend backend(echo());
  start_for(backend, {"--shards", "1", "--max-handshakes", "1", "--handshake-timeout", "1h"});
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) silent_.push_back(begin("GET / HTTP/1.0\r\n\r\n"));
  for (const Fd& each : silent_) {
    std::string answer;
    receive(each, answer, 7);
    EXPECT_EQ(answer, std::string("\x15\x03\x03\x00\x02\x02\x0a", 7));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10))
      << "one after another they take 100 s";
  EXPECT_TRUE(served());
  silent_.clear();
}

TEST_F(Limits, OnHandshakesAcceptAClientHelloInManyRecords) {
  Backend backend(echo());
  start_for(backend);
  const std::string hello = client_hello();
  Fd socket = begin(in_records(hello, 7, hello.size() - 5));
  std::string answer;
  receive(socket, answer, 1);
  EXPECT_EQ(answer.substr(0, 1), "\x16");
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
