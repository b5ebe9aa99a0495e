// NSS, the TLS of Firefox, by its test client.
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

class NssClient : public PeerScenario {
 protected:
  Backend backend{echo()};

  /// NSS keeps certificates in a database of its own.
  void make_database(const TestCertificate& certificate) {
    write_files(certificate);
    const std::string database = "sql:" + dir.path().string();
    must({"certutil", "-N", "-d", database, "--empty-password"});
    must({"certutil", "-A", "-d", database, "-n", "mesh", "-t", "C,,", "-i", ca()});
    must({"openssl", "pkcs12", "-export", "-in", cert(), "-inkey", key(), "-out",
          dir / "client.p12", "-passout", "pass:", "-name", "client"});
    must({"pk12util", "-i", dir / "client.p12", "-d", database, "-W", "", "-K", ""});
  }
  static void must(const std::vector<std::string>& argv) {
    const Finished finished = run(argv);
    ASSERT_EQ(finished.status, 0) << argv.front() << finished.out << finished.err;
  }

  std::vector<std::string> command(const std::vector<std::string>& more = {},
                                   const char* versions = "tls1.3:tls1.3") const {
    std::vector<std::string> argv{"tstclnt",
                                  "-h",
                                  "127.0.0.1",
                                  "-p",
                                  port(),
                                  "-a",
                                  kName,
                                  "-n",
                                  "client",
                                  "-d",
                                  "sql:" + dir.path().string(),
                                  "-V",
                                  versions};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
};

TEST_F(NssClient, TalksInEachSuite) {
  make_database(client);
  start_for(backend);
  const std::pair<const char*, const char*> suites[] = {{":1301", "TLS_AES_128_GCM_SHA256"},
                                                        {":1302", "TLS_AES_256_GCM_SHA384"},
                                                        {":1303", "TLS_CHACHA20_POLY1305_SHA256"}};
  for (const auto& [code, suite] : suites) {
    Process process(command({"-c", code}));
    talk(process, std::string("hello with ") + suite);
    // At the end of its input it waits for the server to close: there is no orderly end.
    process.signal(SIGTERM);
    process.wait();
    EXPECT_EQ(gateway->wait_log({{"cipher", suite}}).at("identity"), kWeb);
  }
}

// With a false start (-g) as Firefox does it: its data comes right behind its Finished, before it
// has seen ours. -G offers the extended master secret.
TEST_F(NssClient, TalksTls12WithAFalseStart) {
  make_database(client);
  start_for(backend, {"--min-tls", "1.2"});
  const std::pair<const char*, const char*> suites[] = {{":C02B", "ECDHE-ECDSA-AES128-GCM-SHA256"},
                                                        {":C02C", "ECDHE-ECDSA-AES256-GCM-SHA384"},
                                                        {":CCA9", "ECDHE-ECDSA-CHACHA20-POLY1305"}};
  for (const auto& [code, suite] : suites) {
    Process process(command({"-c", code, "-g", "-G"}, "tls1.2:tls1.2"));
    talk(process, std::string("hello with ") + suite);
    process.signal(SIGTERM);
    process.wait();
    EXPECT_EQ(gateway->wait_log({{"cipher", suite}}).at("identity"), kWeb);
  }
}

TEST_F(NssClient, CarriesAnUploadUnharmed) {
  Transcript heard;
  Backend ear(listener(heard));
  make_database(client);
  start_for(ear);
  const std::string data = pseudo_random(1U << 20, 21);
  Process process(command());
  process.write(data);
  heard.wait_size(data.size());
  process.signal(SIGTERM);
  EXPECT_EQ(heard.wait_end(), StreamEnd::kReset);
  EXPECT_EQ(sha256_hex(heard.data()), sha256_hex(data));
}

TEST_F(NssClient, SeesTheAlertOfItsRefusal) {
  make_database(root.issue({.spiffe = {"spiffe://elsewhere.org/web"}}));
  start_for(backend);
  Process process(command());
  EXPECT_NE(process.wait(), 0);
  EXPECT_NE(process.err().find("SSL_ERROR_ACCESS_DENIED_ALERT"), std::string::npos)
      << process.err();
  gateway->wait_log({{"reason", "not_authorized"}});
}

}  // namespace
}  // namespace sallyport::test
