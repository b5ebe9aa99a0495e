// "proxy-protocol" of a route in the policy file.
#include "gateway/policy/proxy_rule.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "gateway/policy/policy.h"

namespace sallyport::gateway {
namespace {

std::expected<Policy::Pointer, ConfigError> policy_with(const std::string& value) {
  return parse_policy("{\"routes\": {\"a\": {\"allow-any-verified\": true" +
                          (value.empty() ? "" : ",\n\"proxy-protocol\": " + value) + "}}}",
                      "p.json");
}

std::optional<ProxyRule> rule(const std::string& value) {
  const auto policy = policy_with(value);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? (*policy)->routes()[0].proxy : std::nullopt;
}

TEST(ProxyRule, IsNoneWithoutTheKey) {
  EXPECT_EQ(rule(""), std::nullopt);
}

TEST(ProxyRule, IsEverythingByItsShortForm) {
  using enum ProxyTlv;
  const ProxyRule all{.tlvs = {kAuthority, kAlpn, kUniqueId, kCrc32c, kSsl, kIdentity},
                      .identity_type = 0xE0};
  EXPECT_EQ(rule("\"v2\""), all);
  EXPECT_EQ(rule("{}"), all);
}

TEST(ProxyRule, KeepsTheOrderOfItsList) {
  using enum ProxyTlv;
  EXPECT_EQ(rule(R"({"tlvs": ["identity", "crc32c", "ssl"], "identity-type": "0xEa"})"),
            (ProxyRule{.tlvs = {kIdentity, kCrc32c, kSsl}, .identity_type = 0xEA}));
  EXPECT_EQ(rule(R"({"identity-type": "0xEF"})")->identity_type, 0xEF);
  EXPECT_EQ(rule(R"({"tlvs": ["client_cert", "ssl"]})"), (ProxyRule{.tlvs = {kClientCert, kSsl}}));
  EXPECT_EQ(rule(R"({"tlvs": []})"), ProxyRule{}) << "the addresses alone";
}

TEST(ProxyRule, IsRefusedWithItsPlace) {
  const std::pair<std::string, std::string> wrong[] = {
      {"true", ": must be \"v2\" or an object with \"tlvs\""},
      {"\"v1\"", ": must be \"v2\" or an object with \"tlvs\""},
      {R"({"tlv": []})", ".tlv: unknown key"},
      {R"({"tlvs": "ssl"})", ".tlvs: must be an array of strings, not a string"},
      {R"({"tlvs": ["ssl", 1]})", ".tlvs[1]: must be a string, not a number"},
      {R"({"tlvs": ["ssl", "SSL"]})",
       ".tlvs[1]: must be one of authority, alpn, unique_id, crc32c, ssl, identity, "
       "client_cert"},
      {R"({"tlvs": ["ssl", "alpn", "ssl"]})", ".tlvs[2]: is listed twice"},
      {R"({"tlvs": ["client_cert", "alpn"]})",
       ".tlvs: \"client_cert\" is a part of \"ssl\", which is not among them"},
      {R"({"tlvs": ["ssl"], "identity-type": "0xE1"})",
       ".identity-type: is for \"identity\", which is not among the tlvs"},
      {R"({"identity-type": 224})", ".identity-type: must be a string, not a number"},
  };
  for (const auto& [value, error] : wrong) {
    const auto policy = policy_with(value);
    ASSERT_FALSE(policy) << value;
    EXPECT_EQ(policy.error().to_string(), "p.json:2: routes.a.proxy-protocol" + error);
  }
}

TEST(ProxyRule, HasItsIdentityAmongTheCustomTypesOnly) {
  for (const char* type :
       {"0xDF", "0xF0", "0x05", "0xE", "0xE00", "E0", "0XE0", "224", "0xEG", " 0xE0", "0xE "}) {
    const auto policy = policy_with(R"({"identity-type": ")" + std::string(type) + "\"}");
    ASSERT_FALSE(policy) << type;
    EXPECT_EQ(policy.error().what, "must be a type from \"0xE0\" to \"0xEF\"");
  }
}

}  // namespace
}  // namespace sallyport::gateway
