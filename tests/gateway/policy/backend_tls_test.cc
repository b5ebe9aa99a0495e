// "backend-tls" of a route in the policy file.
#include "gateway/policy/backend_tls.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

constexpr std::string_view kNamed =
    R"({"credentials": {"c": {"bundle": "c.pem"}}, "trust": {"t": {"ca": ["t.pem"]}}, )";

std::expected<Policy::Pointer, ConfigError> policy_with_tls(std::string_view value,
                                                            std::string_view begin = "{") {
  return parse_policy(std::string(begin) + "\"routes\": {\"a\": {\"allow-any-verified\": true" +
                          (value.empty() ? "" : ",\n\"backend-tls\": " + std::string(value)) +
                          "}}}",
                      "/p/p.json");
}

BackendTls read(std::string_view value) {
  const auto policy = policy_with_tls(value);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? (*policy)->routes()[0].backend_tls.value() : BackendTls{};
}

std::string backend_tls_error(std::string_view value) {
  const auto policy = policy_with_tls(value);
  return policy ? "no error" : policy.error().to_string();
}

TEST(BackendTls, IsNoneWithoutTheKey) {
  EXPECT_FALSE(policy_with_tls("").value()->routes()[0].backend_tls);
}

TEST(BackendTls, PresentsOurCertificateAndOffersNothingByItself) {
  const BackendTls tls = read(R"({"verify": ["spiffe://d/a", "dns:*.a.b"]})");

  ASSERT_EQ(tls.verify.size(), 2u);
  EXPECT_EQ(tls.verify[0].text(), "spiffe://d/a");
  EXPECT_EQ(tls.verify[1].text(), "dns:*.a.b");
  EXPECT_TRUE(tls.presents_certificate);
  EXPECT_EQ(tls.sni, "");
  EXPECT_TRUE(tls.alpn.empty());
  EXPECT_FALSE(tls.forward_alpn);
  EXPECT_FALSE(tls.starttls_postgresql);
  EXPECT_EQ(tls.min_version, ktls::RecordVersion::kTls13);
  EXPECT_EQ(tls.files, 0u) << "the files of the flags";
}

TEST(BackendTls, TakesEveryKey) {
  const BackendTls tls = read(
      R"({"verify": "endpoint", "sni": "Orders.Test", "alpn": ["h2", "http/1.1"],
          "min-tls": "1.2", "credentials": "none", "starttls": "postgresql"})");

  EXPECT_TRUE(tls.verify.empty());
  EXPECT_EQ(tls.sni, "orders.test");
  EXPECT_EQ(tls.alpn, (std::vector<std::string>{"h2", "http/1.1"}));
  EXPECT_EQ(tls.min_version, ktls::RecordVersion::kTls12);
  EXPECT_FALSE(tls.presents_certificate);
  EXPECT_TRUE(tls.starttls_postgresql);
  EXPECT_TRUE(read(R"({"verify": "endpoint", "alpn": "forward"})").forward_alpn);
  EXPECT_EQ(read(R"({"verify": "endpoint", "min-tls": "1.3"})").min_version,
            ktls::RecordVersion::kTls13);
}

// What the route presents to its clients and whom it trusts among them is another matter.
TEST(BackendTls, HasFilesOfItsOwn) {
  const auto policy =
      policy_with_tls(R"({"verify": "endpoint", "credentials": "c", "trust": "t"})", kNamed);
  ASSERT_TRUE(policy) << policy.error().to_string();

  const Route& route = (*policy)->routes()[0];
  EXPECT_EQ(route.files, 0u);
  EXPECT_EQ(route.backend_tls->credentials, "c");
  EXPECT_EQ(route.backend_tls->trust, "t");
  const RouteFiles& files = (*policy)->files()[route.backend_tls->files];
  ASSERT_EQ(files.credentials.size(), 1u);
  EXPECT_EQ(files.credentials[0].cert, "/p/c.pem");
  ASSERT_TRUE(files.trust);
  EXPECT_EQ(files.trust->ca, std::vector<std::string>{"/p/t.pem"});
}

TEST(BackendTls, IsRefusedWithItsPlace) {
  const std::pair<std::string, std::string> wrong[] = {
      {"true", ": must be an object, not a boolean"},
      {"{}", ": \"verify\" is missing: identity patterns, or \"endpoint\""},
      {R"({"alpn": "forward"})", ": \"verify\" is missing: identity patterns, or \"endpoint\""},
      {R"({"verify": "any"})", ".verify: must be \"endpoint\" or an array of identity patterns"},
      {R"({"verify": []})", ".verify: must not be empty"},
      {R"({"verify": ["dns:a.b", 1]})", ".verify[1]: must be a string, not a number"},
      {R"({"verify": ["spiffe://d/**", "spiffe://d/a"]})",
       ".verify[1]: is covered by verify[0], spiffe://d/**"},
      {R"({"verify": "endpoint", "sni": "10.0.0.1"})", ".sni: '10.0.0.1' is no host name"},
      {R"({"verify": "endpoint", "sni": "*.a.b"})", ".sni: '*.a.b' is no host name"},
      {R"({"verify": "endpoint", "sni": "a.b."})", ".sni: 'a.b.' is no host name"},
      {R"({"verify": "endpoint", "sni": ""})", ".sni: must not be empty"},
      {R"({"verify": "endpoint", "trust": "u"})", ".trust: no \"trust\" has the name u"},
      {R"({"verify": "endpoint", "credentials": "d"})",
       ".credentials: no \"credentials\" has the name d"},
      {R"({"verify": "endpoint", "credentials": ["c"]})",
       ".credentials: must be a string, not an array"},
      {R"({"verify": "endpoint", "alpn": "h2"})",
       ".alpn: must be \"forward\" or an array of protocols"},
      {R"({"verify": "endpoint", "alpn": []})", ".alpn: must not be empty"},
      {R"({"verify": "endpoint", "alpn": ["h2", "h2"]})", ".alpn[1]: is listed twice"},
      {R"({"verify": "endpoint", "min-tls": "1.1"})", ".min-tls: must be one of 1.2, 1.3"},
      {R"({"verify": "endpoint", "starttls": "smtp"})", ".starttls: must be \"postgresql\""},
      {R"({"verify": "endpoint", "starttls": true})", ".starttls: must be \"postgresql\""},
      {R"({"verify": "endpoint", "insecure": true})", ".insecure: unknown key"},
  };
  for (const auto& [value, what] : wrong)
    EXPECT_EQ(backend_tls_error(value), "/p/p.json:2: routes.a.backend-tls" + what) << value;
}

// 65,535 bytes is the most that ALPN can have: an offer of more ended the process.
TEST(BackendTls, OffersNoMoreProtocolsThanAClientHelloHolds) {
  const auto with_protocols = [](int count) {
    std::string list;
    for (int i = 0; i < count; ++i)
      list += (i > 0 ? ", \"" : "\"") + std::string(252, 'p') + std::to_string(100 + i) + '"';
    return R"({"verify": "endpoint", "alpn": [)" + list + "]}";
  };
  EXPECT_EQ(read(with_protocols(32)).alpn.size(), 32u);
  EXPECT_EQ(backend_tls_error(with_protocols(33)),
            "/p/p.json:2: routes.a.backend-tls.alpn[32]: makes the list longer than 8192 bytes, a "
            "length byte with each");
}

TEST(BackendTls, GoesWithChecksOfEachType) {
  for (const char* const health : {R"({"type": "tcp"})", R"({"type": "http", "path": "/live"})",
                                   R"({"type": "send-expect", "send": "a", "expect": "b"})"}) {
    const auto policy =
        policy_with_tls(R"({"verify": "endpoint"}, "health": )" + std::string(health));
    EXPECT_TRUE(policy) << policy.error().to_string();
  }
}

}  // namespace
}  // namespace sallyport::gateway
