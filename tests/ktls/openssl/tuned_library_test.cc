#include "ktls/openssl/tuned_library.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "ktls/base/openssl_handles.h"
#include "tests/ktls/handshake/loopback.h"
#include "tests/support/temp_dir.h"

namespace sallyport::ktls {
namespace {

using testing::ClientSetup;
using testing::MemoryClient;
using testing::TestServer;
using Step = ServerHandshake::Step;

struct Kind {
  const char* name;
  std::shared_ptr<EVP_PKEY> (*make)();
};

template <class... Arguments>
std::shared_ptr<EVP_PKEY> key(Arguments... arguments) {
  return {EVP_PKEY_Q_keygen(nullptr, nullptr, arguments...), EVP_PKEY_free};
}

constexpr std::size_t kRsaBits = 2048;
const Kind kKinds[] = {
    {"P256", [] { return key("EC", "P-256"); }},
    {"P384", [] { return key("EC", "P-384"); }},
    {"P521", [] { return key("EC", "P-521"); }},
    {"Rsa", [] { return key("RSA", kRsaBits); }},
    {"RsaPss",
     [] {
       const std::unique_ptr<EVP_PKEY_CTX, decltype([](EVP_PKEY_CTX* c) { EVP_PKEY_CTX_free(c); })>
           context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA-PSS", nullptr));
       EVP_PKEY* made = nullptr;
       EVP_PKEY_keygen_init(context.get());
       EVP_PKEY_generate(context.get(), &made);
       return std::shared_ptr<EVP_PKEY>(made, EVP_PKEY_free);
     }},
    {"Ed25519", [] { return key("ED25519"); }},
    {"Ed448", [] { return key("ED448"); }},
};

class EachKindOfKey : public ::testing::TestWithParam<Kind> {};

// Once with the whole chain to verify, once by the chain that is known by then.
TEST_P(EachKindOfKey, IsTakenFromAClient) {
  const TestServer server;
  const auto context = server.context();
  ASSERT_TRUE(context);
  const auto certificate =
      server.authority.issue({.spiffe = {"spiffe://example.org/a"}}, GetParam().make());
  for (int i = 0; i < 2; ++i) {
    testing::RoutedHandshake handshake(context, testing::any_route());
    MemoryClient client(ClientSetup{.certificate = &certificate});
    ASSERT_EQ(testing::shuttle(handshake, client), Step::kDone) << handshake.failure().detail;
    EXPECT_EQ(handshake.outcome().trust->identity.spiffe, "spiffe://example.org/a");
  }
}

TEST_P(EachKindOfKey, IsKnown) {
  EXPECT_TRUE(supports_key_type(tuned_library().context, GetParam().make().get()));
}

INSTANTIATE_TEST_SUITE_P(HandshakeLibrary, EachKindOfKey, ::testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

// A digest that is missing would refuse certificates that OpenSSL's own library takes.
TEST(HandshakeLibrary, HasEachDigestThatSignsACertificateAtOurSecurityLevel) {
  for (const char* name : {"SHA224", "SHA256", "SHA384", "SHA512", "SHA512-224", "SHA512-256",
                           "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512", "SHAKE256"}) {
    EVP_MD* const digest = EVP_MD_fetch(tuned_library().context, name, nullptr);
    EXPECT_NE(digest, nullptr) << name;
    EVP_MD_free(digest);
  }
}

/// A process of its own for each openssl.cnf: the statement of a death test runs in one.
class SystemConfiguration : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  ~SystemConfiguration() override { ::unsetenv("OPENSSL_CONF"); }

  void configure(const std::string& sections) {
    const std::string text = "openssl_conf = main\n[main]\n" + sections;
    ::setenv("OPENSSL_CONF", dir_.write("openssl.cnf", text).c_str(), 1);
  }
  [[noreturn]] static void say_whose() {
    std::fputs(tuned_library().context != nullptr ? "ours" : "the default one", stderr);
    std::_Exit(0);
  }

 private:
  test::TempDir dir_;
};

TEST_F(SystemConfiguration, WithoutSettingsOfAlgorithmsKeepsOurLibrary) {
  configure("ssl_conf = tls\n[tls]\nsystem_default = all\n[all]\nMinProtocol = TLSv1.2\n");
  EXPECT_EXIT(say_whose(), ::testing::ExitedWithCode(0), "ours");
  ::setenv("OPENSSL_CONF", "/nonexistent/openssl.cnf", 1);
  EXPECT_EXIT(say_whose(), ::testing::ExitedWithCode(0), "ours");
}

TEST_F(SystemConfiguration, WithAnotherProviderIsObeyed) {
  configure("providers = list\n[list]\ndefault = on\nbase = on\n[on]\nactivate = 1\n");
  EXPECT_EXIT(say_whose(), ::testing::ExitedWithCode(0), "the default one");
}

TEST_F(SystemConfiguration, OfPropertiesIsObeyed) {
  configure("alg_section = properties\n[properties]\ndefault_properties = ?fips=yes\n");
  EXPECT_EXIT(say_whose(), ::testing::ExitedWithCode(0), "the default one");
}

TEST_F(SystemConfiguration, OfRandomNumbersIsObeyed) {
  configure("random = numbers\n[numbers]\nrandom = HASH-DRBG\n");
  EXPECT_EXIT(say_whose(), ::testing::ExitedWithCode(0), "the default one");
}

// There OpenSSL seals the tickets.
TEST_F(SystemConfiguration, WithAnotherProviderHasResumption) {
  configure("providers = list\n[list]\ndefault = on\nbase = on\n[on]\nactivate = 1\n");
  const auto visit_twice = [] {
    TestServer server;
    server.settings.process_tickets = TicketSecrets::random();
    const auto context = server.context();
    const auto certificate = server.client();
    SslSessionPtr session;
    std::string seen = tuned_library().context == nullptr ? "the default one:" : "ours:";
    for (int i = 0; i < 3; ++i) {
      testing::RoutedHandshake handshake(context, testing::any_route());
      MemoryClient client({.certificate = &certificate, .session = session.get()});
      if (testing::shuttle(handshake, client) != Step::kDone) std::abort();
      handshake.issue_tickets();
      testing::deliver(handshake, client);
      (void)client.read();
      seen += handshake.outcome().resumed ? " resumed" : " full";
      const auto state = handshake.finish().state;
      client.give(testing::seal("after the ticket", state));
      if (client.read() != "after the ticket" || client.sessions().size() != 1) std::abort();
      SSL_SESSION_up_ref(client.sessions().front().get());
      session.reset(client.sessions().front().get());
    }
    std::fputs(seen.c_str(), stderr);
    std::_Exit(0);
  };
  EXPECT_EXIT(visit_twice(), ::testing::ExitedWithCode(0), "the default one: full resumed resumed");
}

TEST(HandshakeLibrary, LeavesOutKeyTypesThatItReportsAsUnsupported) {
  const bool leaves_out = OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 2;
  EXPECT_EQ(supports_key_type(tuned_library().context, key("SM2").get()), !leaves_out);
  EXPECT_TRUE(supports_key_type(nullptr, key("SM2").get()));
}

}  // namespace
}  // namespace sallyport::ktls
