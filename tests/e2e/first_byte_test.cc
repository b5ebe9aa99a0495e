// The client's first byte waits for nothing that the gateway could have sent. A client of TLS 1.2
// waits for the gateway's Finished. One with Nagle's algorithm sends its request once its own
// Finished is acknowledged, by what the gateway sends or, where that is nothing, by a segment of
// its own. Once these were held back for the backend's first bytes, 200 ms at most.
//
// The tests ask no clock. The gateway sends all of this before it dials, and loopback keeps the
// order: once the backend has the connection the client has the bytes, although the backend never
// answers and the client has sent nothing more.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

int bytes_to_read(TlsClient& tls) {
  int bytes = -1;
  EXPECT_EQ(::ioctl(tls.socket().get(), FIONREAD, &bytes), 0);
  return bytes;
}

unsigned unacknowledged_segments(TlsClient& tls) {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(tls.socket().get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info.tcpi_unacked;
}

class FirstByte : public Scenario {
 protected:
  Backend silent{stall()};

  void wait_for_dials(int dials) {
    wait_until("the gateway has dialled", [&] { return silent.accepted() == dials; });
  }
};

TEST_F(FirstByte, TicketsDoNotWaitForTheBackend) {
  start_for(silent);
  TlsClient tls = connect();
  wait_for_dials(1);
  EXPECT_GT(bytes_to_read(tls), 0);
  EXPECT_EQ(unacknowledged_segments(tls), 0U);
  EXPECT_NE(tls.session(), nullptr);
}

TEST_F(FirstByte, TicketsOfAResumedHandshakeDoNotWaitForTheBackend) {
  start_for(silent);
  TlsClient first = connect();
  ClientOptions again = as(client);
  again.session = first.session();
  wait_for_dials(1);
  TlsClient tls = connect(again);
  ASSERT_TRUE(tls.resumed());
  wait_for_dials(2);
  EXPECT_GT(bytes_to_read(tls), 0);
  EXPECT_EQ(unacknowledged_segments(tls), 0U);
}

TEST_F(FirstByte, FinishedIsAcknowledgedWhereThereAreNoTickets) {
  start_for(silent, {"--tickets", "0"});
  TlsClient tls = connect();
  wait_for_dials(1);
  EXPECT_EQ(bytes_to_read(tls), 0);
  EXPECT_EQ(unacknowledged_segments(tls), 0U);
}

TEST_F(FirstByte, LastFlightOfTls12DoesNotWaitForTheBackend) {
  start_for(silent, {"--min-tls", "1.2"});
  ClientOptions options = as(client);
  options.min_version = options.max_version = TLS1_2_VERSION;
  options.handshake_flights = 2;
  TlsClient tls = connect(options);
  ASSERT_FALSE(tls.connected());
  wait_for_dials(1);
  EXPECT_GT(bytes_to_read(tls), 0);
  EXPECT_EQ(unacknowledged_segments(tls), 0U);
  tls.finish_handshake();
  EXPECT_TRUE(tls.connected());
}

}  // namespace
}  // namespace sallyport::test
