// The instruments are tested against each other before they judge the gateway: TlsClient against
// OpenSSL's own server.
#include "tests/support/tls_client.h"

#include <gtest/gtest.h>

#include "tests/support/backend.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sallyport::test {
namespace {

class TlsClientTest : public ::testing::Test {
 protected:
  // s_server prints the port that it got.
  std::string start(std::vector<std::string> flags) {
    std::vector<std::string> argv{"openssl", "s_server",
                                  "-accept", "127.0.0.1:0",
                                  "-cert",   dir.write("cert.pem", server.chain_pem),
                                  "-key",    dir.write_secret("key.pem", server.key_pem),
                                  "-CAfile", dir.write("ca.pem", root.cert_pem())};
    argv.insert(argv.end(), flags.begin(), flags.end());
    process = std::make_unique<Process>(argv);
    process->wait_out("s_server accepts", [this](std::string_view out) {
      const auto at = out.find("ACCEPT 127.0.0.1:");
      if (at == std::string_view::npos || out.find('\n', at) == std::string_view::npos) {
        return false;
      }
      address = out.substr(at + 7, out.find('\n', at) - at - 7);
      return true;
    });
    return address;
  }

  TempDir dir;
  TestAuthority root;
  TestCertificate server = root.issue({.cn = "server", .dns = {"server.test"}});
  TestCertificate client = root.issue({.cn = "client"});
  std::unique_ptr<Process> process;
  std::string address;
};

TEST_F(TlsClientTest, ExchangesMegabytesUnderRandomSegmentation) {
  start({"-rev", "-Verify", "1"});
  TlsClient tls(address, {.certificate = client,
                          .trust_pem = root.cert_pem(),
                          .sni = "server.test",
                          .segment_below = 1500});
  ASSERT_TRUE(tls.connected()) << tls.tls_error();
  EXPECT_EQ(tls.server_serial(), server.serial);
  // -rev answers each line reversed.
  std::string line(9000, 'x');
  line += "y\n";
  const std::string back = tls.exchange(line, line.size());
  EXPECT_EQ(back, "y" + std::string(9000, 'x') + "\n");
}

TEST_F(TlsClientTest, ResumesWithTheTicketThatItWasGiven) {
  start({"-rev"});
  TlsClient first(address, {.certificate = client});
  const auto session = first.session();
  ASSERT_NE(session, nullptr);
  EXPECT_FALSE(first.resumed());
  first.close_notify();
  TlsClient second(address, {.certificate = client, .session = session});
  EXPECT_TRUE(second.connected());
  EXPECT_TRUE(second.resumed());
}

TEST_F(TlsClientTest, SeesTheAlertOfARefusal) {
  start({"-Verify", "1", "-verify_return_error"});
  TlsClient anonymous(address, {});
  anonymous.receive(1);
  EXPECT_EQ(anonymous.end(), TlsEnd::kAlert);
  EXPECT_EQ(anonymous.alert(), 116);
}

TEST_F(TlsClientTest, SeesCloseNotify) {
  start({"-www"});
  TlsClient tls(address, {});
  tls.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_NE(tls.receive_all().find("HTTP/1.0 200"), std::string::npos);
  EXPECT_EQ(tls.end(), TlsEnd::kCloseNotify);
}

TEST_F(TlsClientTest, SeesTruncationWhenTheServerIsKilled) {
  start({"-rev"});
  TlsClient tls(address, {});
  EXPECT_EQ(tls.exchange("abc\n", 4), "cba\n");
  process->signal(SIGKILL);
  EXPECT_EQ(tls.receive_all(), "");
  EXPECT_EQ(tls.end(), TlsEnd::kTruncated);
}

TEST_F(TlsClientTest, SeesAResetBeforeTheHandshake) {
  Backend resets([](Fd& socket) {
    std::string hello;
    receive(socket, hello, 5);
    socket.reset();
  });
  TlsClient tls(resets.address(), {});
  EXPECT_FALSE(tls.connected());
  EXPECT_EQ(tls.end(), TlsEnd::kReset);
}

}  // namespace
}  // namespace sallyport::test
