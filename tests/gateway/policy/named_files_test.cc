// "credentials" and "trust" of the policy file.
#include "gateway/policy/named_files.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

// `top` stands before the routes, `keys` in the only one.
std::string file(const std::string& top, const std::string& keys) {
  return "{\n" + top + ",\n\"routes\": {\"a\": {\"allow-any-verified\": true" +
         (keys.empty() ? "" : ", " + keys) + "}}}";
}

std::string files_error(const std::string& top, const std::string& keys) {
  const auto policy = parse_policy(file(top, keys), "dir/p.json");
  return policy ? "" : policy.error().to_string();
}

TEST(NamedFiles, AreFoundBesideThePolicyFile) {
  const auto policy = parse_policy(R"({
    "credentials": {"one": {"cert": "one.pem", "key": "/keys/one.key"},
                    "two": {"bundle": "sub/two.pem"}},
    "trust": {"t": {"ca": ["ca.pem", "/cas"], "crl": ["list.pem"], "trust-domain": "d.org"}},
    "routes": {"flags": {"sni": ["a"], "allow-any-verified": true},
               "named": {"sni": ["b"], "allow-any-verified": true,
                         "credentials": ["one", "two"], "trust": "t"},
               "same": {"sni": ["c"], "allow-any-verified": true, "trust": "t",
                        "credentials": ["one", "two"]},
               "trusting": {"sni": ["d"], "allow-any-verified": true, "trust": "t"}}})",
                                   "dir/p.json");
  ASSERT_TRUE(policy) << policy.error().to_string();
  const NamedTrust trust{
      .name = "t", .ca = {"dir/ca.pem", "/cas"}, .crls = {"dir/list.pem"}, .trust_domain = "d.org"};
  const RouteFiles both{
      .credentials = {{.name = "one", .cert = "dir/one.pem", .key = "/keys/one.key"},
                      {.name = "two", .cert = "dir/sub/two.pem", .key = "dir/sub/two.pem"}},
      .trust = trust};
  const auto files = (*policy)->files();
  ASSERT_EQ(files.size(), 3u) << "each combination once";
  EXPECT_EQ(files[0], RouteFiles{});
  EXPECT_EQ(files[(*policy)->find("flags")->files], RouteFiles{});
  EXPECT_EQ(files[(*policy)->find("named")->files], both);
  EXPECT_EQ((*policy)->find("same")->files, (*policy)->find("named")->files);
  EXPECT_EQ(files[(*policy)->find("trusting")->files], (RouteFiles{{}, trust}));
}

TEST(NamedFiles, AreRefusedWithTheirPlace) {
  const std::string good = R"("credentials": {"c": {"bundle": "b"}})";
  const std::string trust = R"("trust": {"t": {"ca": ["a"]}})";
  const std::pair<std::string, std::string> of_top[] = {
      {R"("credentials": [])", "p.json:2: credentials: must be an object, not an array"},
      {R"("credentials": {"c": "b"})", "p.json:2: credentials.c: must be an object, not a string"},
      {R"("credentials": {"": {"bundle": "b"}})",
       "p.json:2: credentials.: a name has 1 to 255 bytes and no control characters"},
      {R"("credentials": {"c": {}})",
       R"(p.json:2: credentials.c: has either "cert" and "key", or "bundle")"},
      {R"("credentials": {"c": {"cert": "b"}})",
       R"(p.json:2: credentials.c: has either "cert" and "key", or "bundle")"},
      {R"("credentials": {"c": {"key": "b", "bundle": "b"}})",
       R"(p.json:2: credentials.c: has either "cert" and "key", or "bundle")"},
      {R"("credentials": {"c": {"cert": "b", "key": "b", "bundle": "b"}})",
       R"(p.json:2: credentials.c: has either "cert" and "key", or "bundle")"},
      {R"("credentials": {"c": {"bundle": ""}})",
       "p.json:2: credentials.c.bundle: must not be empty"},
      {R"("credentials": {"c": {"bundle": ["b"]}})",
       "p.json:2: credentials.c.bundle: must be a string, not an array"},
      {R"("credentials": {"c": {"bundle": "b\u0000.pem"}})",
       "p.json:2: credentials.c.bundle: a path has no control characters"},
      {R"("credentials": {"c": {"pem": "b"}})", "p.json:2: credentials.c.pem: unknown key"},
      {R"("trust": {"t": {"crl": ["a"]}})", R"(p.json:2: trust.t: "ca" is missing)"},
      {R"("trust": {"t": {"ca": "a"}})",
       "p.json:2: trust.t.ca: must be an array of strings, not a string"},
      {R"("trust": {"t": {"ca": []}})", "p.json:2: trust.t.ca: must not be empty"},
      {R"("trust": {"t": {"ca": [""]}})", "p.json:2: trust.t.ca[0]: must not be empty"},
      {R"("trust": {"t": {"ca": ["a", "b\nc"]}})",
       "p.json:2: trust.t.ca[1]: a path has no control characters"},
      {R"("trust": {"t": {"ca": ["a"], "trust-domain": 1}})",
       "p.json:2: trust.t.trust-domain: must be a string, not a number"},
      {good, "p.json:2: credentials.c: no route has it"},
      {trust, "p.json:2: trust.t: no route has it"},
  };
  for (const auto& [top, error] : of_top) EXPECT_EQ(files_error(top, ""), "dir/" + error);
  const std::pair<std::string, std::string> of_route[] = {
      {R"("credentials": "d")",
       R"(p.json:3: routes.a.credentials: no "credentials" has the name d)"},
      {R"("credentials": [])", "p.json:3: routes.a.credentials: must not be empty"},
      {R"("credentials": 1)", "p.json:3: routes.a.credentials: must be a string, not a number"},
      {R"("credentials": ["c", "c"])", "p.json:3: routes.a.credentials[1]: is listed twice"},
      {R"("credentials": "c", "trust": "t")",
       R"(p.json:3: routes.a.trust: no "trust" has the name t)"},
      {R"("credentials": "c", "trust": ["t"])",
       "p.json:3: routes.a.trust: must be a string, not an array"},
  };
  for (const auto& [keys, error] : of_route) EXPECT_EQ(files_error(good, keys), "dir/" + error);
  EXPECT_EQ(files_error(good, R"("credentials": "c")"), "");
}

}  // namespace
}  // namespace sallyport::gateway
