#include "ktls/trust/chain_cache.h"

#include <gtest/gtest.h>

#include <thread>

#include "ktls/handshake/server_handshake.h"
#include "tests/ktls/handshake/loopback.h"

namespace sallyport::ktls {
namespace {

using testing::ClientSetup;
using testing::MemoryClient;
using testing::TestServer;
using Step = ServerHandshake::Step;

ChainName name_of(std::uint8_t first) {
  ChainName name{};
  name[0] = first;
  return name;
}

std::shared_ptr<const PeerTrust> trust_of(const std::string& spiffe) {
  auto trust = std::make_shared<PeerTrust>();
  trust->identity.spiffe = spiffe;
  return trust;
}

TEST(ChainCache, ForgetsTheChainUsedLongestAgo) {
  ChainCache cache(2);
  cache.remember(name_of(1), trust_of("one"));
  cache.remember(name_of(2), trust_of("two"));
  ASSERT_NE(cache.find(name_of(1)), nullptr);
  cache.remember(name_of(3), trust_of("three"));
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(cache.find(name_of(2)), nullptr);
  ASSERT_NE(cache.find(name_of(1)), nullptr);
  EXPECT_EQ(cache.find(name_of(1))->identity.spiffe, "one");
  EXPECT_EQ(cache.find(name_of(3))->identity.spiffe, "three");
}

TEST(ChainCache, MayBeUsedByTwoThreadsAtATime) {
  ChainCache cache(8);
  const auto use = [&cache] {
    for (int i = 0; i < 2000; ++i) {
      const auto known = cache.find(name_of(static_cast<std::uint8_t>(i % 16)));
      if (!known) {
        cache.remember(name_of(static_cast<std::uint8_t>(i % 16)), trust_of("same"));
      } else {
        ASSERT_EQ(known->identity.spiffe, "same");
      }
    }
  };
  std::thread other(use);
  use();
  other.join();
  EXPECT_EQ(cache.size(), 8U);
}

TEST(ChainName, DependsOnEveryCertificateAndTheirOrder) {
  const test::TestAuthority root;
  const auto intermediate = root.intermediate();
  const auto leaf = intermediate.issue({});
  STACK_OF(X509)* both = sk_X509_new_null();
  sk_X509_push(both, leaf.x509.get());
  sk_X509_push(both, intermediate.certificate().x509.get());
  STACK_OF(X509)* turned = sk_X509_new_null();
  sk_X509_push(turned, intermediate.certificate().x509.get());
  sk_X509_push(turned, leaf.x509.get());

  const auto name = chain_name(leaf.x509.get(), both);
  ASSERT_TRUE(name);
  EXPECT_EQ(chain_name(leaf.x509.get(), both), name);
  EXPECT_NE(chain_name(leaf.x509.get(), turned), name);
  EXPECT_NE(chain_name(leaf.x509.get(), nullptr), name);
  EXPECT_NE(chain_name(intermediate.certificate().x509.get(), both), name);
  sk_X509_free(both);
  sk_X509_free(turned);
}

TEST(ChainName, IsNoneForAChainThatIsTooLong) {
  const test::TestAuthority root;
  STACK_OF(X509)* many = sk_X509_new_null();
  for (int i = 0; i < 20; ++i) sk_X509_push(many, root.certificate().x509.get());
  EXPECT_FALSE(chain_name(root.certificate().x509.get(), many));
  sk_X509_free(many);
}

class KnownChain : public ::testing::Test {
 protected:
  ~KnownChain() override { testing::set_clock_offset(std::chrono::seconds(0)); }

  // One handshake with everything of `certificate` over the one context of the test.
  Step shake(const test::TestCertificate& certificate) {
    server_.emplace(context_, testing::any_route());
    client_.emplace(ClientSetup{.certificate = &certificate});
    return testing::shuttle(*server_, *client_);
  }
  void use(const std::shared_ptr<ServerContext>& context) { context_ = context; }

  TestServer pki_;
  std::shared_ptr<ServerContext> context_ = pki_.context();
  std::optional<testing::RoutedHandshake> server_;
  std::optional<MemoryClient> client_;
};

TEST_F(KnownChain, IsRecognisedAsTheSamePeer) {
  const auto certificate = pki_.client();
  ASSERT_EQ(shake(certificate), Step::kDone);
  const auto first = server_->outcome().trust;
  ASSERT_EQ(shake(certificate), Step::kDone);
  EXPECT_EQ(*server_->outcome().trust, *first);
  EXPECT_FALSE(server_->outcome().resumed);
}

TEST_F(KnownChain, IsRefusedOnceItHasExpired) {
  const auto certificate = pki_.authority.issue({.not_after = std::chrono::hours(1)});
  ASSERT_EQ(shake(certificate), Step::kDone);
  testing::set_clock_offset(std::chrono::hours(2));
  EXPECT_EQ(shake(certificate), Step::kFailed);
  EXPECT_EQ(to_string(server_->failure().result), "certificate_expired");
  EXPECT_EQ(client_->alert(), 45);
}

TEST_F(KnownChain, IsRefusedOnceTheCrlHasExpired) {
  pki_.files.crls = {pki_.dir.write("ca.crl", pki_.authority.crl({}, std::chrono::hours(1)))};
  use(pki_.context());
  const auto certificate = pki_.client();
  ASSERT_EQ(shake(certificate), Step::kDone);
  testing::set_clock_offset(std::chrono::hours(2));
  EXPECT_EQ(shake(certificate), Step::kFailed);
  EXPECT_EQ(to_string(server_->failure().result), "crl_expired");
  EXPECT_EQ(client_->alert(), 48);
}

TEST_F(KnownChain, IsNotKnownToTheNextGeneration) {
  const auto certificate = pki_.client();
  ASSERT_EQ(shake(certificate), Step::kDone);
  pki_.files.crls = {pki_.dir.write("ca.crl", pki_.authority.crl({certificate.serial}))};
  use(pki_.context());
  EXPECT_EQ(shake(certificate), Step::kFailed);
  EXPECT_EQ(to_string(server_->failure().result), "certificate_revoked");
  EXPECT_EQ(client_->alert(), 44);
}

TEST_F(KnownChain, ProvesPossessionOfItsKeyAllTheSame) {
  const auto certificate = pki_.client();
  ASSERT_EQ(shake(certificate), Step::kDone);
  // A CertificateVerify under the right chain whose bytes were touched on the way.
  server_.emplace(context_, testing::any_route());
  client_.emplace(ClientSetup{.certificate = &certificate});
  client_->handshake();
  server_->feed(testing::bytes_of(client_->take()));
  ASSERT_EQ(server_->advance(), Step::kWantRead);
  testing::deliver(*server_, *client_);
  client_->handshake();
  std::string flight = client_->take();
  flight[flight.size() / 2] ^= 1;
  server_->feed(testing::bytes_of(flight));
  EXPECT_EQ(server_->advance(), Step::kFailed);
}

}  // namespace
}  // namespace sallyport::ktls
