// OpenSSL's own client.
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

class OpensslClient : public PeerScenario {
 protected:
  Backend backend{echo()};

  std::vector<std::string> command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> argv{"openssl",
                                  "s_client",
                                  "-connect",
                                  gateway->address(),
                                  "-servername",
                                  kName,
                                  "-cert",
                                  cert(),
                                  "-key",
                                  key(),
                                  "-CAfile",
                                  ca(),
                                  "-cert_chain",
                                  cert(),
                                  "-verify_return_error"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  /// s_client takes a command only at the start of what it reads: wait until it has obeyed.
  static void key_update(Process& process, const std::string& command, long times) {
    process.write(command + "\n");
    process.wait_err("a KeyUpdate", [&](std::string_view err) {
      long said = 0;
      for (auto at = err.find("KEYUPDATE"); at != std::string_view::npos;
           at = err.find("KEYUPDATE", at + 1)) {
        ++said;
      }
      return said >= times;
    });
  }
};

TEST_F(OpensslClient, TalksInEachSuite) {
  write_files(client);
  start_for(backend);
  for (const std::string suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    Process process(command({"-ciphersuites", suite}));
    process.wait_out("the handshake", [&](std::string_view out) {
      return out.find("Cipher is " + suite) != std::string_view::npos;
    });
    talk(process, "hello in " + suite);
    key_update(process, "k", 1);  // a KeyUpdate on its own
    talk(process, "with new keys");
    key_update(process, "K", 2);  // one that asks for an answer
    talk(process, "both ways");
    process.write("Q\n");
    EXPECT_EQ(process.wait(), 0) << process.err();
    EXPECT_EQ(gateway->wait_log({{"cipher", suite}}).at("identity"), kWeb);
  }
}

TEST_F(OpensslClient, TalksTls12WhereItIsAllowed) {
  write_files(client);
  start_for(backend, {"--min-tls", "1.2"});
  for (const std::string suite : {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                                  "ECDHE-ECDSA-CHACHA20-POLY1305"}) {
    Process process(command({"-tls1_2", "-cipher", suite}));
    talk(process, "hello in " + suite);
    EXPECT_NE(process.out().find("Extended master secret: yes"), std::string::npos);
    process.write("Q\n");
    EXPECT_EQ(process.wait(), 0) << process.err();
    const LogLine line = gateway->wait_log({{"cipher", suite}});
    EXPECT_EQ(line.at("tls"), "TLSv1.2");
    EXPECT_EQ(line.at("identity"), kWeb);
  }
}

TEST_F(OpensslClient, MayNotRenegotiateInTls12) {
  write_files(client);
  start_for(backend, {"--min-tls", "1.2"});
  Process process(command({"-tls1_2"}));
  talk(process, "hello");
  process.write("R\n");
  EXPECT_NE(process.wait(), 0);
  EXPECT_NE(process.err().find("no renegotiation"), std::string::npos) << process.err();
  EXPECT_EQ(gateway->wait_log({{"identity", kWeb}}).at("reason"), "record_error");
}

TEST_F(OpensslClient, ResumesFromASavedSession) {
  write_files(client);
  start_for(backend);
  const std::string session = dir / "session.pem";
  {
    Process process(command({"-sess_out", session}));
    talk(process, "first");
    process.write("Q\n");
    EXPECT_EQ(process.wait(), 0);
  }
  Process process(command({"-sess_in", session}));
  talk(process, "again");
  EXPECT_NE(process.out().find("Reused, TLSv1.3"), std::string::npos) << process.out();
  process.write("Q\n");
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(OpensslClient, SeesTheAlertOfItsRefusal) {
  write_files(root.issue({.spiffe = {kWeb},
                          .not_before = std::chrono::hours(-3),
                          .not_after = std::chrono::hours(-1)}));
  start_for(backend);
  Process process(command());
  EXPECT_NE(process.wait(), 0);
  EXPECT_NE(process.err().find("alert certificate expired"), std::string::npos) << process.err();
}

TEST_F(OpensslClient, OffersEarlyDataInVain) {
  write_files(client);
  start_for(backend);
  const std::string session = dir / "session.pem";
  Process process(command({"-sess_out", session}));
  talk(process, "first");
  process.write("Q\n");
  process.wait();
  const Finished finished = run({"openssl", "sess_id", "-in", session, "-text", "-noout"});
  EXPECT_EQ(finished.out.find("Max Early Data: 16384"), std::string::npos) << finished.out;
  EXPECT_NE(finished.out.find("Max Early Data: 0"), std::string::npos) << finished.out;
}

}  // namespace
}  // namespace sallyport::test
