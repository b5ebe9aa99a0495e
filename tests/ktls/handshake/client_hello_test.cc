// What is read of a ClientHello before OpenSSL sees it.
#include "ktls/handshake/client_hello.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "ktls/handshake/server_handshake.h"
#include "ktls/records/record.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls::testing {
namespace {

class Hello : public ::testing::Test {
 protected:
  /// The first flight of a client that has, or has not, a session to resume.
  std::string hello(bool resumes) {
    SslSessionPtr session;
    if (resumes) {
      RoutedHandshake server(pki.context(), any_route());
      MemoryClient client({.certificate = &certificate});
      EXPECT_EQ(shuttle(server, client), ServerHandshake::Step::kDone);
      server.issue_tickets();
      deliver(server, client);
      (void)client.read();
      EXPECT_EQ(client.sessions().size(), 1U);
      SSL_SESSION_up_ref(client.sessions().front().get());
      session.reset(client.sessions().front().get());
    }
    MemoryClient client({.certificate = &certificate, .session = session.get()});
    EXPECT_FALSE(client.handshake());
    return client.take();
  }

  TestServer pki;
  test::TestCertificate certificate = pki.client();
};

TEST_F(Hello, SuspendsTheHandshakeUntilItIsDecidedOn) {
  for (const bool resumes : {false, true}) {
    ServerHandshake server(pki.context());
    const std::string sent = hello(resumes);
    server.feed(bytes_of(sent));
    ASSERT_EQ(server.advance(), ServerHandshake::Step::kHello);
    EXPECT_EQ(server.hello().offers_resumption, resumes);
    EXPECT_TRUE(server.output().empty()) << "nothing is answered before";
    EXPECT_TRUE(server.can_advance());
    EXPECT_EQ(server.advance(), ServerHandshake::Step::kHello) << "however often it is asked";
    server.accept({});
    EXPECT_EQ(server.advance(), ServerHandshake::Step::kWantRead);
    EXPECT_FALSE(server.output().empty());
  }
}

TEST_F(Hello, IsNoRecordWhereverItIsCut) {
  const std::string whole = hello(true);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(holds_record(bytes_of(whole.substr(0, size)))) << size;
  EXPECT_TRUE(holds_record(bytes_of(whole)));
}

TEST(HoldsRecord, WaitsForAWholeOneOnly) {
  EXPECT_FALSE(holds_record({}));
  for (const char type : {20, 21, 22, 23})
    EXPECT_FALSE(holds_record(bytes_of(std::string(1, type))));
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x01\x00", 4))));
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x01", 5))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x01x", 6))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x01\x00\x00", 5)))) << "an empty one";
}

TEST(HoldsRecord, DoesNotWaitForWhatCanNeverBeOne) {
  EXPECT_TRUE(holds_record(bytes_of("G")));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x02\x00\x00\x10", 5)))) << "SSL 2";
  EXPECT_FALSE(holds_record(bytes_of(std::string("\x16\x03\x03\x41\x00", 5))));
  EXPECT_TRUE(holds_record(bytes_of(std::string("\x16\x03\x03\x41\x01", 5)))) << "too long";
}

}  // namespace
}  // namespace sallyport::ktls::testing
