#include "gateway/observe/recent_refusals.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace sallyport::gateway {
namespace {

using nlohmann::json;

ConnectionFacts refusal(const std::string& id) {
  ConnectionFacts facts;
  facts.refused = true;
  facts.id = id;
  facts.reason = CloseReason::kNotAuthorized;
  return facts;
}

TEST(RecentRefusals, AreTheNewestFirstAndNoMoreThanKept) {
  RecentRefusals refusals;
  for (std::size_t i = 0; i < RecentRefusals::kKept + 10; ++i)
    refusals.add(refusal(std::to_string(i)));
  const json list = json::parse(refusals.to_json());
  ASSERT_EQ(list.size(), RecentRefusals::kKept);
  EXPECT_EQ(list.front()["id"], std::to_string(RecentRefusals::kKept + 9));
  EXPECT_EQ(list.back()["id"], "10");
}

TEST(RecentRefusals, LeaveOutConnectionsThatWereServed) {
  RecentRefusals refusals;
  refusals.add(ConnectionFacts{});
  EXPECT_EQ(json::parse(refusals.to_json()), json::array());
}

TEST(RecentRefusals, ShowWhatIsKnownOfOne) {
  ConnectionFacts facts = refusal("7");
  facts.listener = "a:1";
  facts.client = "192.0.2.1:5";
  facts.detail = "no rule";
  facts.route = "orders";
  facts.sni = "a.b";
  facts.alpn_offered = {"h2"};
  facts.presented = std::make_shared<const ktls::PresentedCertificate>(
      ktls::PresentedCertificate{.spiffe = "spiffe://td/a",
                                 .dns = {"dns:a.b"},
                                 .subject = "CN=web",
                                 .serial = "0A",
                                 .issuer = "CN=ca",
                                 .verified = true});
  facts.steps = {{"route", true, "orders"}, {"rule", false, "no rule"}};
  RecentRefusals refusals;
  refusals.add(facts);

  const json shown = json::parse(refusals.to_json())[0];
  EXPECT_EQ(shown["time"], "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(shown["listener"], "a:1");
  EXPECT_EQ(shown["client"], "192.0.2.1:5");
  EXPECT_EQ(shown["result"], "not_authorized");
  EXPECT_EQ(shown["detail"], "no rule");
  EXPECT_EQ(shown["route"], "orders");
  EXPECT_EQ(shown["sni"], "a.b");
  EXPECT_EQ(shown["alpn_offered"], json({"h2"}));
  EXPECT_EQ(shown["presented"]["spiffe"], "spiffe://td/a");
  EXPECT_EQ(shown["presented"]["verified"], true);
  EXPECT_EQ(shown["steps"],
            json::parse(R"([{"subject": "route", "passed": true, "finding": "orders"},
                            {"subject": "rule", "passed": false, "finding": "no rule"}])"));
}

TEST(RecentRefusals, EscapeWhatAPeerSent) {
  ConnectionFacts facts = refusal("7");
  facts.sni = "a\x1b\xff";
  facts.detail = "\xe2\x80\xae";
  RecentRefusals refusals;
  refusals.add(facts);
  const std::string text = refusals.to_json();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find("\xe2\x80\xae"), std::string::npos);
  EXPECT_EQ(json::parse(text)[0]["sni"], "a\x1b\xef\xbf\xbd");
}

}  // namespace
}  // namespace sallyport::gateway
