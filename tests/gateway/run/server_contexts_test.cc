#include "gateway/run/server_contexts.h"

#include <gtest/gtest.h>

#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

class ServerContextsTest : public ::testing::Test {
 protected:
  ServerContextsTest() {
    const auto issued = authority_.issue({.cn = "gateway", .dns = {"gateway.test"}});
    files_of_credentials_.pairs = {{files_.write("tls.crt", issued.chain_pem).string(),
                                    files_.write_secret("tls.key", issued.key_pem).string()}};
    files_of_credentials_.ca = {
        {std::nullopt, files_.write("ca.crt", authority_.cert_pem()).string()}};
  }

  std::shared_ptr<const ktls::Credentials> load() const {
    return ktls::Credentials::load(files_of_credentials_).value();
  }

  const test::TestAuthority authority_;
  test::TempDir files_;
  ktls::CredentialFiles files_of_credentials_;
  const std::vector<ListenAddress> listen_{*parse_listen_address("127.0.0.1:1"),
                                           *parse_listen_address("127.0.0.1:2")};
};

TEST_F(ServerContextsTest, AreOneForEachShard) {
  const auto contexts = ServerContexts(listen_, 3).renew({load()});

  ASSERT_TRUE(contexts) << contexts.error();
  ASSERT_EQ(contexts->size(), 3u);
  EXPECT_NE((*contexts)[0]->front(), (*contexts)[1]->front());
  EXPECT_NE((*contexts)[1]->front(), (*contexts)[2]->front());
}

TEST_F(ServerContextsTest, AreMadeAnewForOtherCredentialsOnly) {
  ServerContexts contexts(listen_, 2);
  const auto credentials = load();
  ASSERT_EQ(contexts.renew({credentials})->size(), 2u);

  EXPECT_TRUE(contexts.renew({credentials})->empty());
  EXPECT_EQ(contexts.renew({load()})->size(), 2u);
}

// A handshake may begin with one and go on with another.
TEST_F(ServerContextsTest, AreOneForEachCredentialsAndThoseThatStayAreKept) {
  ServerContexts contexts(listen_, 2);
  const auto stays = load();
  const auto before = contexts.renew({stays, load()}).value();
  ASSERT_EQ(before.size(), 2u);
  ASSERT_EQ(before[0]->size(), 2u);

  const auto after = contexts.renew({stays, load()}).value();
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0]->front(), before[0]->front());
  EXPECT_NE(after[0]->back(), before[0]->back());
  EXPECT_EQ(after[1]->front(), before[1]->front());
}

}  // namespace
}  // namespace sallyport::gateway
