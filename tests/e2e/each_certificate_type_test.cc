// Each kind of key proves each side; chains go through intermediates, sent or kept in the bundle.
#include <openssl/evp.h>

#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

struct Kind {
  const char* name;
  KeyType type;
};
constexpr Kind kKinds[] = {{"EcdsaP256", KeyType::kEcdsaP256},
                           {"EcdsaP384", KeyType::kEcdsaP384},
                           {"Rsa2048", KeyType::kRsa2048},
                           {"Ed25519", KeyType::kEd25519}};

class EachCertificateType : public Scenario,
                            public ::testing::WithParamInterface<std::tuple<Kind, Kind>> {};

TEST_P(EachCertificateType, ProvesItsSide) {
  const auto [of_server, of_client] = GetParam();
  root = TestAuthority("Mesh Root", of_client.type);
  server = root.issue({.dns = {"orders.example.org"}, .key_type = of_server.type});
  client = root.issue({.spiffe = {kWeb}, .key_type = of_client.type});
  Backend backend(echo());
  start_for(backend);
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("identity"), kWeb);
}

INSTANTIATE_TEST_SUITE_P(Pairs, EachCertificateType,
                         ::testing::Combine(::testing::ValuesIn(kKinds),
                                            ::testing::ValuesIn(kKinds)),
                         [](const auto& pair) {
                           return std::string("Server") + std::get<0>(pair.param).name + "Client" +
                                  std::get<1>(pair.param).name;
                         });

using Certificates = Scenario;

// What few authorities issue. Null: the kind needs no parameters, or has defaults.
struct RareKind {
  const char *name, *curve;
};
std::shared_ptr<EVP_PKEY> make_key(const RareKind& kind) {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, kind.name, nullptr), &EVP_PKEY_CTX_free);
  EVP_PKEY* key = nullptr;
  const bool made =
      EVP_PKEY_keygen_init(context.get()) == 1 &&
      (kind.curve == nullptr || EVP_PKEY_CTX_set_group_name(context.get(), kind.curve) == 1) &&
      EVP_PKEY_generate(context.get(), &key) == 1;
  EXPECT_TRUE(made) << kind.name;
  return {key, &EVP_PKEY_free};
}

class EachRareCertificateType : public Scenario, public ::testing::WithParamInterface<RareKind> {};

TEST_P(EachRareCertificateType, ProvesBothSides) {
  server = root.issue({.dns = {"orders.example.org"}}, make_key(GetParam()));
  client = root.issue({.spiffe = {kWeb}}, make_key(GetParam()));
  Backend backend(echo());
  start_for(backend);
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->wait_log({{"reason", "done"}}).at("identity"), kWeb);
}

INSTANTIATE_TEST_SUITE_P(Kinds, EachRareCertificateType,
                         ::testing::Values(RareKind{"EC", "P-521"}, RareKind{"ED448", nullptr},
                                           RareKind{"RSA-PSS", nullptr}),
                         [](const auto& kind) {
                           std::string name = kind.param.name;
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(Certificates, ServesRsaAndEcdsaClientsFromAPairOfEach) {
  const TestCertificate rsa =
      root.issue({.dns = {"orders.example.org"}, .key_type = KeyType::kRsa2048});
  Backend backend(echo());
  start_for(backend, {"--cert", dir.write("ec.pem", server.chain_pem), "--key",
                      dir.write_secret("ec.key", server.key_pem), "--cert",
                      dir.write("rsa.pem", rsa.chain_pem), "--key",
                      dir.write_secret("rsa.key", rsa.key_pem)});
  for (const auto& [algorithms, serial] :
       {std::pair{"ECDSA+SHA256", server.serial}, std::pair{"RSA-PSS+SHA256", rsa.serial}}) {
    ClientOptions options =
        as(algorithms[0] == 'E' ? client
                                : root.issue({.spiffe = {kWeb}, .key_type = KeyType::kRsa2048}));
    options.signature_algorithms = algorithms;
    // The mesh's own CA signs with ECDSA, which an RSA-only client would not accept in a chain.
    options.trust_pem.reset();
    TlsClient tls = connect(options);
    ASSERT_TRUE(tls.connected()) << algorithms << " " << tls.tls_error();
    EXPECT_EQ(tls.server_serial(), serial) << algorithms;
  }
}

TEST_F(Certificates, AcceptsAChainThroughASentIntermediate) {
  const TestAuthority issuing = root.intermediate();
  Backend backend(echo());
  start_for(backend);
  EXPECT_TRUE(served(as(issuing.issue({.spiffe = {kWeb}}))));
}

// The usual way of a CA: its root is offline and signs intermediates alone. The client knows that
// root and nothing else.
TEST_F(Certificates, ServeAChainThroughIntermediatesInEitherOrder) {
  const TestAuthority policy = root.intermediate("Policy");
  const TestAuthority issuing = policy.intermediate("Issuing");
  server = issuing.issue({.dns = {"orders.example.org"}});
  Backend backend(echo());
  for (const std::string& chain : {server.cert_pem + issuing.cert_pem() + policy.cert_pem(),
                                   server.cert_pem + policy.cert_pem() + issuing.cert_pem()}) {
    start_for(backend, {"--cert", dir.write("chain.pem", chain), "--key",
                        dir.write_secret("chain.key", server.key_pem)});
    EXPECT_TRUE(served()) << chain;
    finish();
  }
}

TEST_F(Certificates, ServeAChainFromTheFileOfItsKeyWhicheverComesFirst) {
  const TestAuthority issuing = root.intermediate();
  server = issuing.issue({.dns = {"orders.example.org"}});
  Backend backend(echo());
  for (const std::string& text :
       {server.key_pem + server.chain_pem, server.chain_pem + server.key_pem}) {
    const std::string both = dir.write_secret("both.pem", text);
    start_for(backend, {"--cert", both, "--key", both});
    EXPECT_TRUE(served()) << text;
    finish();
  }
}

TEST_F(Certificates, LeaveAClientWithoutAPathWhereTheChainLacksItsIntermediate) {
  const TestAuthority issuing = root.intermediate();
  server = issuing.issue({.dns = {"orders.example.org"}});
  server.chain_pem = server.cert_pem;
  Backend backend(echo());
  start_for(backend);
  TlsClient tls = connect();
  EXPECT_FALSE(tls.connected());
  const LogLine line = gateway->wait_log({{"reason", "peer_connection_closed"}});
  EXPECT_NE(line.at("detail").find("unknown ca"), std::string::npos) << line.at("detail");
}

TEST_F(Certificates, BuildsAChainWithAnIntermediateFromTheBundle) {
  const TestAuthority issuing = root.intermediate();
  TestCertificate bare = issuing.issue({.spiffe = {kWeb}});
  bare.chain_pem = bare.cert_pem;
  Backend backend(echo());
  start_for(backend, {"--ca", dir.write("ca.pem", root.cert_pem() + issuing.cert_pem())});
  EXPECT_TRUE(served(as(bare)));
}

TEST_F(Certificates, DoNotAnchorAtAnIntermediateOfTheBundle) {
  const TestAuthority stranger("Other Root");
  const TestAuthority issuing = stranger.intermediate();
  Backend backend(echo());
  start_for(backend, {"--ca", dir.write("ca.pem", root.cert_pem() + issuing.cert_pem())});
  expect_refused(as(issuing.issue({.spiffe = {kWeb}})), "certificate_authority_invalid",
                 kUnknownCa);
}

TEST_F(Certificates, WithoutExtendedKeyUsagePass) {
  Backend backend(echo());
  start_for(backend);
  EXPECT_TRUE(served(as(root.issue({.spiffe = {kWeb}, .eku = Eku::kAbsent}))));
}

TEST_F(Certificates, OfAScopedBundleVouchForTheirTrustDomainOnly) {
  const TestAuthority partner("Partner Root");
  Backend backend(echo());
  start_for(backend, {"--ca", "example.org=" + dir.write("a.pem", root.cert_pem()).string(), "--ca",
                      "partner.org=" + dir.write("b.pem", partner.cert_pem()).string(), "--allow",
                      "spiffe://example.org/**", "--allow", "spiffe://partner.org/**"});
  EXPECT_TRUE(served());
  EXPECT_TRUE(served(as(partner.issue({.spiffe = {"spiffe://partner.org/billing"}}))));
  expect_refused(as(partner.issue({.spiffe = {kWeb}})), "certificate_authority_invalid",
                 kUnknownCa);
}

}  // namespace
}  // namespace sallyport::test
