#include "gateway/run/client_contexts.h"

#include <gtest/gtest.h>

#include "gateway/run/server_contexts.h"
#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

class ClientContextsTest : public ::testing::Test {
 protected:
  using Credentials = std::vector<std::shared_ptr<const ktls::Credentials>>;

  ClientContextsTest() {
    const auto issued = authority_.issue({.cn = "gateway", .dns = {"gateway.test"}});
    of_flags_.pairs = {{directory_.write("tls.crt", issued.chain_pem).string(),
                        directory_.write_secret("tls.key", issued.key_pem).string()}};
    of_flags_.ca = {{std::nullopt, directory_.write("ca.crt", authority_.cert_pem()).string()}};
  }

  std::shared_ptr<const ktls::Credentials> load() const {
    return ktls::Credentials::load(of_flags_).value();
  }

  const test::TestAuthority authority_;
  test::TempDir directory_;
  ktls::CredentialFiles of_flags_;
  // Of the flags' credentials, of those of "t", and of both.
  const Policy::Pointer policy_ = parse_policy(R"({
    "trust": {"t": {"ca": ["t.pem"]}},
    "routes": {
      "plain": {"sni": ["p.test"], "allow-any-verified": true},
      "one": {"sni": ["o.test"], "allow-any-verified": true,
              "backend-tls": {"verify": "endpoint"}},
      "same": {"sni": ["s.test"], "allow-any-verified": true,
               "backend-tls": {"verify": ["dns:a.b"], "sni": "a.b"}},
      "nothing": {"sni": ["n.test"], "allow-any-verified": true,
                  "backend-tls": {"verify": "endpoint", "credentials": "none"}},
      "other": {"sni": ["x.test"], "allow-any-verified": true,
                "backend-tls": {"verify": "endpoint", "trust": "t"}}}})",
                                               "/p.json")
                                      .value();
};

TEST_F(ClientContextsTest, AreOneForEachRouteWithTlsAndShareWhatIsTheSame) {
  const Credentials credentials{load(), load()};
  const auto of_shards = ClientContexts(2).renew(*policy_, credentials);

  ASSERT_TRUE(of_shards) << of_shards.error();
  ASSERT_EQ(of_shards->size(), 2u);
  const auto& contexts = *(*of_shards)[0];
  ASSERT_EQ(contexts.size(), 5u);
  EXPECT_EQ(contexts[0], nullptr);
  ASSERT_NE(contexts[1], nullptr);
  EXPECT_EQ(contexts[1], contexts[2]);
  EXPECT_NE(contexts[1], contexts[3]) << "one presents a certificate, the other does not";
  EXPECT_EQ(&contexts[1]->credentials(), credentials[0].get());
  EXPECT_EQ(&contexts[4]->credentials(), credentials[1].get());
  EXPECT_NE(contexts[1], (*(*of_shards)[1])[1]) << "another shard's";
}

TEST_F(ClientContextsTest, AreMadeAnewForOtherCredentialsOnly) {
  ClientContexts contexts(1);
  const auto stays = load();
  const auto before = contexts.renew(*policy_, {stays, load()}).value();
  const auto after = contexts.renew(*policy_, {stays, load()}).value();

  EXPECT_EQ((*before[0])[1], (*after[0])[1]);
  EXPECT_EQ((*before[0])[3], (*after[0])[3]);
  EXPECT_NE((*before[0])[4], (*after[0])[4]);
}

// They would hold a copy of each CA for nothing.
TEST_F(ClientContextsTest, LeaveNoServerContextWhereOnlyBackendsAreJudged) {
  const Credentials credentials{load(), load()};
  const auto of_clients = for_clients(*policy_, credentials);
  EXPECT_EQ(of_clients, (Credentials{credentials[0], nullptr}));

  const std::vector<ListenAddress> listen{*parse_listen_address("127.0.0.1:1")};
  const auto contexts = ServerContexts(listen, 1).renew(of_clients).value();
  EXPECT_NE((*contexts[0])[0], nullptr);
  EXPECT_EQ((*contexts[0])[1], nullptr);
}

}  // namespace
}  // namespace sallyport::gateway
