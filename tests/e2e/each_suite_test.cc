// Each TLS 1.3 suite carries data both ways; what was negotiated is in the log and the metrics.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class EachSuite : public Scenario, public ::testing::WithParamInterface<const char*> {};

TEST_P(EachSuite, CarriesAMegabyteEachWay) {
  Backend backend(echo());
  start_for(backend);
  ClientOptions options = as(client);
  options.ciphersuites = GetParam();
  expect_megabyte_each_way(options, "TLSv1.3", GetParam());
}

INSTANTIATE_TEST_SUITE_P(Tls13, EachSuite,
                         ::testing::Values("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                           "TLS_CHACHA20_POLY1305_SHA256"),
                         [](const auto& suite) { return std::string(suite.param); });

using SuiteChoice = Scenario;

TEST_F(SuiteChoice, FollowsTheOrderOfTheFlag) {
  Backend backend(echo());
  start_for(backend, {"--ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"});
  TlsClient tls = connect();
  ASSERT_TRUE(tls.connected()) << tls.tls_error();
  EXPECT_EQ(tls.cipher(), "TLS_CHACHA20_POLY1305_SHA256");
}

TEST_F(SuiteChoice, ServesEachOfItsGroups) {
  Backend backend(echo());
  start_for(backend);
  for (const char* group : {"X25519", "P-256"}) {
    ClientOptions options = as(client);
    options.groups = group;
    EXPECT_TRUE(served(options)) << group;
  }
  EXPECT_EQ(gateway->metrics().sum("tls_negotiated_total"), 2);
  EXPECT_EQ(gateway->metrics().label_values("tls_negotiated_total", "group").size(), 2U);
}

}  // namespace
}  // namespace sallyport::test
