#include "gateway/policy/pattern.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ktls/trust/identity.h"

namespace sallyport::gateway {
namespace {

IdentityPattern pattern(std::string_view text) {
  auto parsed = IdentityPattern::parse(text);
  EXPECT_TRUE(parsed) << text << ": " << parsed.error();
  return parsed ? *parsed : *IdentityPattern::parse("dns:none.example");
}

bool matches(std::string_view text, std::string_view identity) {
  const bool is_spiffe = identity.starts_with("spiffe://");
  ktls::PeerIdentity peer;
  if (is_spiffe) {
    peer.spiffe = identity;
  } else {
    peer.dns = {std::string(identity)};
  }
  return pattern(text).matches(peer);
}

TEST(IdentityPattern, MatchesSpiffeIdsSegmentBySegment) {
  EXPECT_TRUE(matches("spiffe://example.org/a/b", "spiffe://example.org/a/b"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.org/a/B"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.org/a"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.org/a/b/c"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.org/a/b/"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.com/a/b"));
  EXPECT_FALSE(matches("spiffe://example.org/a/b", "spiffe://example.org"));
}

TEST(IdentityPattern, StarIsOneWholeSegment) {
  EXPECT_TRUE(matches("spiffe://td/a/*/c", "spiffe://td/a/b/c"));
  EXPECT_FALSE(matches("spiffe://td/a/*/c", "spiffe://td/a/c"));
  EXPECT_FALSE(matches("spiffe://td/a/*/c", "spiffe://td/a//c"));
  EXPECT_FALSE(matches("spiffe://td/a/*/c", "spiffe://td/a/b/b/c"));
  EXPECT_TRUE(matches("spiffe://td/*", "spiffe://td/a"));
  EXPECT_FALSE(matches("spiffe://td/*", "spiffe://td/"));
  EXPECT_FALSE(matches("spiffe://td/*", "spiffe://td/a/b"));
}

TEST(IdentityPattern, TwoStarsAreOneOrMoreSegments) {
  EXPECT_TRUE(matches("spiffe://td/**", "spiffe://td/a"));
  EXPECT_TRUE(matches("spiffe://td/a/**", "spiffe://td/a/b/c/d"));
  EXPECT_FALSE(matches("spiffe://td/a/**", "spiffe://td/a"));
  EXPECT_FALSE(matches("spiffe://td/a/**", "spiffe://td/a/"));
  EXPECT_FALSE(matches("spiffe://td/**", "spiffe://td"));
  EXPECT_FALSE(matches("spiffe://td/**", "spiffe://td/a//b"));
}

TEST(IdentityPattern, ComparesTheTrustDomainInLowerCase) {
  EXPECT_TRUE(matches("spiffe://Example.ORG/a", "spiffe://example.org/a"));
  EXPECT_TRUE(matches("spiffe://example.org/a", "spiffe://EXAMPLE.org/a"));
  EXPECT_EQ(pattern("spiffe://Example.ORG/A").text(), "spiffe://example.org/A");
  EXPECT_EQ(pattern("spiffe://Example.ORG/A").trust_domain(), "example.org");
}

TEST(IdentityPattern, WildcardsAdmitNothingOdd) {
  for (const char* odd : {"spiffe://td/%2e", "spiffe://td/.", "spiffe://td/..", "spiffe://td//"}) {
    EXPECT_FALSE(matches("spiffe://td/*", odd)) << odd;
    EXPECT_FALSE(matches("spiffe://td/**", odd)) << odd;
  }
  EXPECT_FALSE(matches("dns:*.b.c", "*.b.c"));
  EXPECT_FALSE(matches("dns:*.b.c", ".b.c"));
  EXPECT_FALSE(matches("dns:*.b.c", "b.c"));
}

TEST(IdentityPattern, MatchesDnsNamesInAnyCase) {
  EXPECT_TRUE(matches("dns:a.b.c", "A.b.C"));
  EXPECT_TRUE(matches("dns:A.B.c", "a.b.c"));
  EXPECT_FALSE(matches("dns:a.b.c", "x.a.b.c"));
  EXPECT_TRUE(matches("dns:*.b.c", "a.B.c"));
  EXPECT_FALSE(matches("dns:*.b.c", "a.a.b.c"));
  EXPECT_TRUE(matches("dns:localhost", "localhost"));
}

TEST(IdentityPattern, EitherKindOfIdentityMayMatch) {
  const ktls::PeerIdentity both{.spiffe = "spiffe://td/a", .dns = {"x.example", "y.example"}};
  EXPECT_TRUE(pattern("spiffe://td/a").matches(both));
  EXPECT_TRUE(pattern("dns:y.example").matches(both));
  EXPECT_FALSE(pattern("dns:z.example").matches(both));
  EXPECT_FALSE(pattern("spiffe://td/**").matches(ktls::PeerIdentity{}));
  EXPECT_FALSE(pattern("dns:td").matches(ktls::PeerIdentity{.spiffe = "spiffe://td/a", .dns = {}}));
}

TEST(IdentityPattern, IsNearAnIdentityBySegmentsFromTheLeftAndLabelsFromTheRight) {
  const auto nearness = [](std::string_view text, std::string spiffe,
                           std::vector<std::string> dns = {}) {
    return pattern(text).nearness({.spiffe = std::move(spiffe), .dns = std::move(dns)});
  };
  const std::string web = "spiffe://td/ns/shop/sa/web";
  EXPECT_EQ(nearness("spiffe://other/ns/shop/sa/web", web), 0U);
  EXPECT_EQ(nearness("spiffe://td/x/shop/sa/web", web), 1U);
  EXPECT_EQ(nearness("spiffe://td/ns/shop/sa/api", web), 4U);
  EXPECT_EQ(nearness("spiffe://td/ns/*/sa/api", web), 4U);
  EXPECT_EQ(nearness("spiffe://td/ns/shop/sa/web/v2", web), 5U);
  EXPECT_EQ(nearness("spiffe://td/ns", web), 2U);
  EXPECT_EQ(nearness("spiffe://td/**", ""), 0U);

  EXPECT_EQ(nearness("dns:api.b.c", "", {"web.b.c"}), 2U);
  EXPECT_EQ(nearness("dns:*.b.c", "", {"x.y.b.c", "c"}), 2U);
  EXPECT_EQ(nearness("dns:a.b.c", "", {"x.c", "z.b.c"}), 2U);
  EXPECT_EQ(nearness("dns:a.b.c", "", {"x.c"}), 0U) << "every name of c shares its last label";
  EXPECT_EQ(nearness("dns:a.b.c", web), 0U);
}

TEST(IdentityPattern, RefusesOtherTexts) {
  for (const char* text : {"",
                           "*",
                           "example.org",
                           "DNS:a.b.c",
                           "Spiffe://td/a",
                           "uri:x",
                           "spiffe:/td/a",
                           "spiffe://",
                           "spiffe:///a",
                           "spiffe://td",
                           "spiffe://td/",
                           "spiffe://td//a",
                           "spiffe://td/a/",
                           "spiffe://*/a",
                           "spiffe://*.td/a",
                           "spiffe://t*/a",
                           "spiffe://td/**/a",
                           "spiffe://td/a*",
                           "spiffe://td/*a",
                           "spiffe://td/***",
                           "spiffe://td/a**",
                           "spiffe://td/.",
                           "spiffe://td/../a",
                           "spiffe://td/%61",
                           "spiffe://td/a?b",
                           "spiffe://td/a#b",
                           "spiffe://td/a b",
                           "spiffe://td:80/a",
                           "spiffe://u@td/a",
                           "spiffe://td/\xC3\xA9",
                           "dns:",
                           "dns:*",
                           "dns:*.",
                           "dns:*.b",
                           "dns:*b.c.d",
                           "dns:a*.b.c",
                           "dns:a.*.c",
                           "dns:*.*.c.d",
                           "dns:**.b.c",
                           "dns:a..b",
                           "dns:.a.b",
                           "dns:a.b.",
                           "dns:a_b.c",
                           "dns:a b.c",
                           "dns:\xC3\xA9.c",
                           "dns:*.b.c."}) {
    const auto parsed = IdentityPattern::parse(text);
    EXPECT_FALSE(parsed) << text;
    if (!parsed) {
      EXPECT_FALSE(parsed.error().empty()) << text;
    }
  }
  EXPECT_FALSE(IdentityPattern::parse("spiffe://td/" + std::string(2048, 'a')));
  EXPECT_FALSE(IdentityPattern::parse("spiffe://" + std::string(256, 'a') + "/a"));
  EXPECT_FALSE(IdentityPattern::parse("dns:" + std::string(64, 'a') + ".b"));
  EXPECT_FALSE(IdentityPattern::parse(std::string_view("dns:a\0.b.c", 10)));
}

TEST(IdentityPattern, CoversWhatItWhollyContains) {
  EXPECT_TRUE(pattern("dns:*.b.c").covers(pattern("dns:a.b.c")));
  EXPECT_TRUE(pattern("dns:*.b.c").covers(pattern("dns:*.B.c")));
  EXPECT_FALSE(pattern("dns:a.b.c").covers(pattern("dns:*.b.c")));
  EXPECT_FALSE(pattern("dns:*.b.c").covers(pattern("dns:*.a.b.c")));
  EXPECT_FALSE(pattern("dns:*.b.c").covers(pattern("dns:b.c")));
  EXPECT_TRUE(pattern("spiffe://td/**").covers(pattern("spiffe://td/*")));
  EXPECT_TRUE(pattern("spiffe://td/**").covers(pattern("spiffe://td/a/*/c")));
  EXPECT_TRUE(pattern("spiffe://td/**").covers(pattern("spiffe://td/a/**")));
  EXPECT_TRUE(pattern("spiffe://td/*/**").covers(pattern("spiffe://td/a/**")));
  EXPECT_FALSE(pattern("spiffe://td/*/**").covers(pattern("spiffe://td/**")));
  EXPECT_FALSE(pattern("spiffe://td/a/**").covers(pattern("spiffe://td/a")));
  EXPECT_FALSE(pattern("spiffe://td/*").covers(pattern("spiffe://td/**")));
  EXPECT_FALSE(pattern("spiffe://td/a/*").covers(pattern("spiffe://td/*/a")));
  EXPECT_TRUE(pattern("spiffe://td/*/*").covers(pattern("spiffe://td/*/a")));
  EXPECT_FALSE(pattern("spiffe://td/**").covers(pattern("spiffe://other/a")));
  EXPECT_FALSE(pattern("spiffe://td/**").covers(pattern("dns:td")));
}

// All patterns and identities over a small alphabet: covers() must say exactly what matching says.
// Identities use one letter and one segment more than any pattern, so that no wildcard is
// exhausted by chance.
TEST(IdentityPattern, CoversAgreesWithMatchingOverAllSmallPatterns) {
  std::vector<std::string> paths{""}, ids{""};
  std::vector<std::string> patterns, identities;
  for (int length = 1; length <= 4; ++length) {
    std::vector<std::string> longer;
    for (const std::string& id : ids) {
      for (const char* segment : {"/a", "/b", "/z"}) longer.push_back(id + segment);
    }
    ids = longer;
    for (const std::string& id : ids) identities.push_back("spiffe://td" + id);
    if (length == 4) break;
    longer.clear();
    for (const std::string& path : paths) {
      patterns.push_back("spiffe://td" + path + "/**");
      for (const char* segment : {"/a", "/b", "/*"}) longer.push_back(path + segment);
    }
    paths = longer;
    for (const std::string& path : paths) patterns.push_back("spiffe://td" + path);
  }
  for (const char* name : {"a", "b", "z"}) {
    for (const char* parent : {"a", "b", "z"}) {
      identities.push_back(std::string(name) + "." + parent + ".c");
    }
    identities.push_back(std::string(name) + ".c");
  }
  for (const char* name : {"dns:a.c", "dns:b.c", "dns:a.a.c", "dns:a.b.c", "dns:b.a.c", "dns:*.a.c",
                           "dns:*.b.c", "dns:*.b.a.c"}) {
    patterns.emplace_back(name);
  }
  identities.emplace_back("z.b.a.c");

  std::vector<IdentityPattern> parsed;
  for (const std::string& text : patterns) parsed.push_back(pattern(text));
  for (const IdentityPattern& wide : parsed) {
    for (const IdentityPattern& narrow : parsed) {
      bool contained = true;
      for (const std::string& id : identities) {
        const bool in_narrow = narrow.matches_spiffe(id) || narrow.matches_dns(id);
        const bool in_wide = wide.matches_spiffe(id) || wide.matches_dns(id);
        contained = contained && (!in_narrow || in_wide);
      }
      EXPECT_EQ(wide.covers(narrow), contained) << wide.text() << " over " << narrow.text();
    }
  }
}

TEST(IdentityPattern, ParsingItsOwnTextChangesNothing) {
  std::mt19937 random(7);
  constexpr std::string_view kAlphabet = "aB.*/-:_%sdnpife";
  int parsed_count = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text = random() % 2 ? "spiffe://t" : "dns:";
    for (unsigned n = random() % 10; n > 0; --n) text += kAlphabet[random() % kAlphabet.size()];
    const auto first = IdentityPattern::parse(text);
    if (!first) continue;
    ++parsed_count;
    const auto again = IdentityPattern::parse(first->text());
    ASSERT_TRUE(again) << text;
    EXPECT_EQ(again->text(), first->text());
    EXPECT_TRUE(first->covers(*again) && again->covers(*first)) << text;
  }
  EXPECT_GT(parsed_count, 100);
}

}  // namespace
}  // namespace sallyport::gateway
