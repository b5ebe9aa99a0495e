#include "gateway/run/server_contexts.h"

#include <gtest/gtest.h>

#include "tests/support/pki.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

TEST(ServerContexts, AreOneForEachShard) {
  const test::TestAuthority authority;
  test::TempDir files;
  const auto issued = authority.issue({.cn = "gateway", .dns = {"gateway.test"}});
  ktls::CredentialFiles credentials;
  credentials.pairs = {{files.write("tls.crt", issued.chain_pem).string(),
                        files.write_secret("tls.key", issued.key_pem).string()}};
  credentials.ca = {{std::nullopt, files.write("ca.crt", authority.cert_pem()).string()}};
  const auto loaded = ktls::Credentials::load(credentials);
  ASSERT_TRUE(loaded);
  const std::vector<ListenAddress> listen{*parse_listen_address("127.0.0.1:1"),
                                          *parse_listen_address("127.0.0.1:2")};

  const auto contexts = make_server_contexts(*loaded, listen, 3);

  ASSERT_TRUE(contexts) << contexts.error();
  ASSERT_EQ(contexts->size(), 3u);
  EXPECT_NE((*contexts)[0], (*contexts)[1]);
  EXPECT_NE((*contexts)[1], (*contexts)[2]);
}

}  // namespace
}  // namespace sallyport::gateway
