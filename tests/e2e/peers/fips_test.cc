// OpenSSL configured for FIPS 140-3: no provider but "fips" (and "base", which encodes and
// decodes), no algorithm but what it approves. All that handshakes, tickets and records in
// userspace ask of libcrypto must be had there, and the gateway must not reach past the
// configuration.
#include <openssl/opensslv.h>

#include <filesystem>

#include "tests/e2e/peers/peer_scenario.h"

namespace sallyport::test {
namespace {

/// Where OpenSSL looks for modules, as its own program says: `MODULESDIR: "/usr/lib/..."`.
std::filesystem::path fips_module() {
  const std::string said = run({"openssl", "version", "-m"}).out;
  const std::size_t begin = said.find('"') + 1;
  return std::filesystem::path(said.substr(begin, said.rfind('"') - begin)) / "fips.so";
}

class Fips : public PeerScenario {
 protected:
  void SetUp() override {
    const std::filesystem::path module = fips_module();
    if (!std::filesystem::exists(module)) {
#if OPENSSL_VERSION_PREREQ(3, 5)
      FAIL() << "install openssl-provider-fips: there is no " << module;
#else
      GTEST_SKIP() << "this release has no package of OpenSSL's FIPS provider: no " << module;
#endif
    }
    const std::string checksums = dir / "fipsmodule.cnf";
    const Finished installed =
        run({"openssl", "fipsinstall", "-module", module.string(), "-out", checksums});
    ASSERT_EQ(installed.status, 0) << installed.err;
    const std::string conf = dir.write("openssl.cnf",
                                       "config_diagnostics = 1\n"
                                       "openssl_conf = main\n"
                                       ".include " +
                                           checksums +
                                           "\n[main]\nproviders = list\nalg_section = algorithms\n"
                                           "[list]\nfips = fips_sect\nbase = base_sect\n"
                                           "[base_sect]\nactivate = 1\n"
                                           "[algorithms]\ndefault_properties = fips=yes\n");
    environment = {"OPENSSL_CONF=" + conf};
    discover({backend.address()});
  }

  void start_under_fips(const std::vector<std::string>& given = {}) {
    gateway = std::make_unique<Gateway>(flags(given), true, environment);
  }

  /// The process ends with 2 and these words.
  void expect_refused_at_start(std::vector<std::string> given, const std::string& words) {
    std::vector<std::string> argv = flags(std::move(given));
    argv.insert(argv.begin(), sallyport_program());
    argv.emplace_back("--check");
    const Finished finished = run(argv, {}, environment);
    EXPECT_EQ(finished.status, 2) << finished.out << finished.err;
    EXPECT_NE(finished.err.find(words), std::string::npos) << finished.err;
  }

  /// Served twice, the second time resumed.
  void expect_full_and_resumed(ClientOptions options) {
    TlsClient first = connect(options);
    ASSERT_TRUE(first.connected()) << first.tls_error();
    EXPECT_FALSE(first.resumed());
    EXPECT_TRUE(first.echo(pseudo_random(300'000, 1)));
    options.session = first.session();
    ASSERT_NE(options.session, nullptr);
    TlsClient second = connect(options);
    EXPECT_TRUE(second.resumed()) << second.tls_error();
    EXPECT_TRUE(second.echo(pseudo_random(300'000, 2)));
  }

  Backend backend{echo()};
  std::vector<std::string> environment;
};

TEST_F(Fips, IsTheOnlySourceOfCryptographyAndSaidToBeSo) {
  start_under_fips();
  const std::string line = gateway->wait_err({"tls library"});
  EXPECT_NE(line.find("base fips"), std::string::npos) << line;
  EXPECT_NE(line.find("stock"), std::string::npos) << line;
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("tls_library", {{"mode", "stock"}}), 1);
}

TEST_F(Fips, ServesFullAndResumedHandshakes) {
  start_under_fips();
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}) {
    SCOPED_TRACE(suite);
    ClientOptions options = as(client);
    options.ciphersuites = suite;
    expect_full_and_resumed(options);
    EXPECT_EQ(gateway->wait_log({{"cipher", suite}, {"resumed", "true"}}).at("identity"), kWeb);
  }
}

TEST_F(Fips, ServesTls12WhereItIsAllowed) {
  start_under_fips({"--min-tls", "1.2"});
  for (const char* suite : {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"}) {
    SCOPED_TRACE(suite);
    ClientOptions options = as(client);
    options.min_version = options.max_version = TLS1_2_VERSION;
    options.cipher_list = suite;
    TlsClient tls = connect(options);
    EXPECT_TRUE(tls.connected()) << tls.tls_error();
    EXPECT_TRUE(tls.echo(pseudo_random(300'000, 1)));
    EXPECT_EQ(tls.cipher(), suite);
  }
}

TEST_F(Fips, VerifiesClientsOfEachKindOfKey) {
  start_under_fips();
  for (const KeyType type : {KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048})
    EXPECT_TRUE(served(as(root.issue({.spiffe = {kWeb}, .key_type = type}))));
}

TEST_F(Fips, PresentsAnRsaCertificate) {
  server = root.issue({.dns = {"orders.example.org"}, .key_type = KeyType::kRsa2048});
  start_under_fips();
  EXPECT_TRUE(served());
}

TEST_F(Fips, TalksToOpensslsClientUnderFips) {
  write_files(client);
  start_under_fips();
  Process process({"openssl", "s_client", "-connect", gateway->address(), "-servername", kName,
                   "-cert", cert(), "-key", key(), "-CAfile", ca(), "-verify_return_error"},
                  environment);
  talk(process, "hello from one provider to the other");
  process.write("Q\n");
  EXPECT_EQ(process.wait(), 0) << process.err();
}

TEST_F(Fips, HasNoChaCha20) {
  start_under_fips();
  ClientOptions options = as(client);
  options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
  expect_refused(options, "cipher_suite_mismatch", kHandshakeFailure);
  expect_refused_at_start({"--ciphersuites", options.ciphersuites}, options.ciphersuites);
}

TEST_F(Fips, HasNoX25519) {
  start_under_fips();
  ClientOptions options = as(client);
  options.groups = "X25519";
  expect_refused(options, "key_exchange_failure", kHandshakeFailure);
  expect_refused_at_start({"--groups", "X25519:P-256"}, "X25519:P-256");
}

}  // namespace
}  // namespace sallyport::test
