// Credentials that load and under which no connection can succeed. --check used to call them good,
// and the gateway to start with them and to refuse every client; and when a CRL or a certificate
// lapsed while it ran, it went on as ready.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class LapsedCredentials : public Scenario {
 protected:
  // Long enough to start in, and to see that it is ready.
  static constexpr seconds kSoon{kSanitized ? 40 : 8};
  Backend backend{echo()};

  void SetUp() override { discover({backend.address()}); }

  // Neither --check nor a start takes these, and the reason names `named`.
  void expect_refused_by_both(const std::vector<std::string>& given, const std::string& named) {
    std::vector<std::string> checking = given;
    checking.emplace_back("--check");
    for (const auto& each : {checking, given}) {
      const Finished finished = run_sallyport(flags(each));
      EXPECT_EQ(finished.status, 2) << named << finished.out << finished.err;
      EXPECT_NE(finished.err.find(named), std::string::npos) << finished.err;
    }
  }
  std::vector<std::string> own(const TestCertificate& certificate) {
    return {"--cert", dir.write("own.pem", certificate.chain_pem), "--key",
            dir.write_secret("own.key", certificate.key_pem)};
  }
};

TEST_F(LapsedCredentials, OfOurOwnStopTheStartAndTheCheck) {
  const std::vector<std::string> name{"orders.example.org"};
  expect_refused_by_both(own(root.issue({.dns = name, .not_after = seconds(-1)})), "expired at");
  expect_refused_by_both(own(root.issue({.dns = name, .not_before = hours(1)})),
                         "not valid before");
  expect_refused_by_both(own(root.issue({.dns = name, .eku = Eku::kClientAuth})), "serverAuth");
}

TEST_F(LapsedCredentials, OfTheAnchorsStopTheStartAndTheCheck) {
  const TestAuthority expired("Old Root", KeyType::kEcdsaP256, seconds(-1));
  expect_refused_by_both({"--ca", dir.write("old.pem", expired.cert_pem())}, "Old Root expired at");
}

TEST_F(LapsedCredentials, ThatNoPatternOfThePolicyFitsStopTheStartAndTheCheck) {
  const auto policy = [&](const std::string& route) {
    return std::vector<std::string>{
        "--policy", dir.replace("policy.json", R"({"routes": {"orders": {)" + route + "}}}")};
  };
  expect_refused_by_both(policy(R"("sni": ["users.test"], "allow": ["spiffe://example.org/**"])"),
                         "users.test");
  auto scoped = policy(R"("allow": ["spiffe://other.org/**"])");
  const std::string ca = dir.write("scoped.pem", root.cert_pem());
  scoped.insert(scoped.end(), {"--ca", "example.org=" + ca});
  expect_refused_by_both(scoped, "spiffe://other.org/**");
}

TEST_F(LapsedCredentials, WithoutTheCrlOfAnIssuerStopTheStartAndTheCheck) {
  const TestAuthority issuing = root.intermediate("Issuing");
  expect_refused_by_both({"--ca", dir.write("both.pem", root.cert_pem() + issuing.cert_pem()),
                          "--crl", dir.write("root.crl", root.crl())},
                         "Issuing: has no CRL");
}

TEST_F(LapsedCredentials, AreNotTakenByAReload) {
  start();
  const double before = reloads("failure");
  const TestCertificate expired =
      root.issue({.dns = {"orders.example.org"}, .not_after = hours(-1)});
  dir.replace("gateway.key", expired.key_pem, 0600);
  dir.replace("gateway.pem", expired.chain_pem);
  wait_reload("failure", before);
  EXPECT_TRUE(served());
}

TEST_F(LapsedCredentials, AreToldWhenItHappens) {
  start({"--crl", dir.write("clients.crl", root.crl({}, kSoon))});
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->metrics().sum("ready"), 1);

  wait_until("the list has lapsed", [&] { return !gateway->ready(); });
  const std::string why = gateway->get("/readyz").body;
  EXPECT_NE(why.find("clients.crl lapsed at"), std::string::npos) << why;
  EXPECT_EQ(gateway->metrics().sum("ready"), 0);
  gateway->wait_err({"no client can be served", "clients.crl lapsed at"});

  dir.replace("clients.crl", root.crl());
  wait_until("the new list counts", [&] { return gateway->ready(); });
  EXPECT_TRUE(served());
}

TEST_F(LapsedCredentials, OfSomeClientsLeaveTheGatewayReadyWithAWord) {
  const TestAuthority other("Other Root");
  start({"--ca", dir.write("both.pem", root.cert_pem() + other.cert_pem()), "--crl",
         dir.write("root.crl", root.crl()), "--crl",
         dir.write("other.crl", other.crl({}, hours(-1)))});
  const HttpResponse answer = gateway->get("/readyz");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("other.crl lapsed at"), std::string::npos) << answer.body;
}

}  // namespace
}  // namespace sallyport::test
