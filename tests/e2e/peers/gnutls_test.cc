// GnuTLS, by its command line client.
#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

class GnutlsClient : public PeerScenario {
 protected:
  Backend backend{echo()};

  std::vector<std::string> command(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> argv{"gnutls-cli",
                                  "--port=" + port(),
                                  "--x509cafile=" + ca(),
                                  "--x509certfile=" + cert(),
                                  "--x509keyfile=" + key(),
                                  std::string("--sni-hostname=") + kName,
                                  std::string("--verify-hostname=") + kName,
                                  "127.0.0.1"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  static void quit(Process& process) {
    process.close_input();
    EXPECT_EQ(process.wait(), 0) << process.out() << process.err();
  }
};

TEST_F(GnutlsClient, TalksInEachSuite) {
  write_files(client);
  start_for(backend);
  const std::pair<const char*, const char*> ciphers[] = {
      {"+AES-128-GCM", "TLS_AES_128_GCM_SHA256"},
      {"+AES-256-GCM", "TLS_AES_256_GCM_SHA384"},
      {"+CHACHA20-POLY1305", "TLS_CHACHA20_POLY1305_SHA256"}};
  for (const auto& [cipher, suite] : ciphers) {
    Process process(
        command({std::string("--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:") + cipher}));
    talk(process, std::string("hello with ") + cipher);
    quit(process);
    EXPECT_EQ(gateway->wait_log({{"cipher", suite}}).at("identity"), kWeb);
  }
}

TEST_F(GnutlsClient, TalksTls12WhereItIsAllowed) {
  write_files(client);
  start_for(backend, {"--min-tls", "1.2"});
  for (const char* cipher : {"+AES-128-GCM", "+AES-256-GCM", "+CHACHA20-POLY1305"}) {
    Process process(
        command({std::string("--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:") + cipher}));
    talk(process, std::string("hello with ") + cipher);
    quit(process);
  }
  for (const LogLine& line : gateway->wait_logs(3)) EXPECT_EQ(line.at("tls"), "TLSv1.2");
}

TEST_F(GnutlsClient, ProvesItselfWithEachKindOfKey) {
  start_for(backend);
  for (const KeyType type :
       {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    write_files(root.issue({.spiffe = {kWeb}, .key_type = type}));
    Process process(command());
    talk(process, "hello");
    quit(process);
  }
  EXPECT_EQ(gateway->wait_logs(4).size(), 4U);
}

TEST_F(GnutlsClient, AcceptsEachKindOfServerCertificate) {
  write_files(client);
  for (const KeyType type :
       {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    server = root.issue({.dns = {kName}, .key_type = type});
    start_for(backend);
    Process process(command());
    talk(process, "hello");
    quit(process);
    finish();
  }
}

TEST_F(GnutlsClient, Resumes) {
  write_files(client);
  start_for(backend);
  Process process(command({"--resume", "--waitresumption"}));
  talk(process, "hello");
  quit(process);
  EXPECT_NE(process.out().find("This is a resumed session"), std::string::npos) << process.out();
  EXPECT_EQ(gateway->wait_log({{"resumed", "true"}}).at("identity"), kWeb);
}

TEST_F(GnutlsClient, ReKeysInMidStream) {
  write_files(client);
  start_for(backend);
  Process process(command({"--inline-commands"}));
  talk(process, "before");
  process.write("^rekey^\n");
  talk(process, "after");
  quit(process);
  EXPECT_GE(gateway->metrics().sum("tls_keyupdates_total"), 1);
}

TEST_F(GnutlsClient, SeesTheAlertOfItsRefusal) {
  write_files(root.issue({.spiffe = {kWeb}, .eku = Eku::kServerAuth}));
  start_for(backend);
  Process process(command());
  process.wait();
  const std::string said = process.out() + process.err();
  EXPECT_NE(said.find("Received alert [43]"), std::string::npos) << said;
  gateway->wait_log({{"reason", "certificate_purpose_invalid"}});
}

}  // namespace
}  // namespace sallyport::test
