// Identity patterns against a slow, obvious reference, over random patterns and identities.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/policy/pattern.h"
#include "ktls/trust/identity.h"

namespace sallyport::gateway {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

bool is_segment(const std::string& text) {
  return !text.empty() && text != "." && text != ".." && !text.contains('%');
}

bool is_label(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// From docs/secure.md: `*` is one segment, `**` at the end one or more. "spiffe:", "", domain, ...
bool reference_matches_spiffe(std::string_view pattern, std::string_view identity) {
  const std::vector<std::string> wanted = split(pattern, '/');
  const std::vector<std::string> given = split(identity, '/');
  if (wanted.size() < 4 || given.size() < 4) return false;
  if (wanted[0] != "spiffe:" || lower(given[0]) != "spiffe:" || !given[1].empty()) return false;
  if (lower(wanted[2]) != lower(given[2])) return false;
  for (std::size_t i = 3; i < given.size(); ++i) {
    if (!is_segment(given[i])) return false;
  }
  const bool rest = wanted.back() == "**";
  if (rest ? given.size() < wanted.size() : given.size() != wanted.size()) return false;
  for (std::size_t i = 3; i < wanted.size(); ++i) {
    if (rest && i + 1 == wanted.size()) break;
    if (wanted[i] != "*" && wanted[i] != given[i]) return false;
  }
  return true;
}

bool reference_matches_dns(std::string_view pattern, std::string_view identity) {
  if (!pattern.starts_with("dns:")) return false;
  const std::vector<std::string> wanted = split(pattern.substr(4), '.');
  const std::vector<std::string> given = split(identity, '.');
  if (wanted.size() != given.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const bool matched =
        wanted[i] == "*" ? is_label(given[i]) : lower(wanted[i]) == lower(given[i]);
    if (!matched) return false;
  }
  return true;
}

// Texts over few letters, so that patterns and identities meet often.
class Texts {
 public:
  explicit Texts(unsigned seed) : random_(seed) {}

  std::string spiffe_pattern() {
    std::string text = "spiffe://" + one_of({"td", "TD", "Td", "t.d"});
    const unsigned segments = 1 + below(3);
    for (unsigned i = 0; i < segments; ++i) text += "/" + one_of({"a", "B", "*", "*", "x.y"});
    if (below(3) == 0) text += "/**";
    return text;
  }
  std::string spiffe_identity() {
    std::string text = one_of({"spiffe://", "spiffe://", "spiffe://", "SPIFFE://", "spiffe:/"}) +
                       one_of({"td", "td", "Td", "t.d", ""});
    const unsigned segments = below(5);
    for (unsigned i = 0; i < segments; ++i) {
      const std::string odd = one_of({"", ".", "..", "%61", "*", "b"});
      text += "/" + (below(8) == 0 ? odd : one_of({"a", "a", "B", "B", "x.y"}));
    }
    return text;
  }
  std::string dns_pattern() {
    std::string text = "dns:" + one_of({"a", "B", "*", "a-b"});
    const unsigned labels = 2 + below(2);
    for (unsigned i = 0; i < labels; ++i) text += "." + one_of({"a", "B"});
    return text;
  }
  std::string dns_identity() {
    std::string text = below(4) == 0 ? one_of({"*", "", "a_b"}) : one_of({"a", "A", "b", "a-b"});
    const unsigned labels = 1 + below(4);
    for (unsigned i = 0; i < labels; ++i) text += "." + (below(12) == 0 ? "" : one_of({"a", "b"}));
    return text;
  }

 private:
  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
  std::string one_of(std::initializer_list<const char*> texts) {
    return texts.begin()[below(static_cast<unsigned>(texts.size()))];
  }

  std::mt19937 random_;
};

constexpr unsigned kSeeds = 20;
constexpr int kRounds = 5'000;

TEST(IdentityPatternProperty, MatchesSpiffeIdsAsTheReferenceDoes) {
  int matched = 0;
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Texts texts(seed);
    for (int round = 0; round < kRounds; ++round) {
      const std::string text = texts.spiffe_pattern();
      const std::string identity = texts.spiffe_identity();
      const auto pattern = IdentityPattern::parse(text);
      ASSERT_TRUE(pattern) << text << ": " << pattern.error();
      const bool expected = reference_matches_spiffe(text, identity);
      ASSERT_EQ(pattern->matches_spiffe(identity), expected) << text << " and " << identity;
      ASSERT_FALSE(pattern->matches_dns(identity)) << text << " and " << identity;
      matched += expected ? 1 : 0;
    }
  }
  EXPECT_GT(matched, 1'000) << "too few of either verdict to tell anything";
}

TEST(IdentityPatternProperty, MatchesDnsNamesAsTheReferenceDoes) {
  int matched = 0;
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Texts texts(seed);
    for (int round = 0; round < kRounds; ++round) {
      const std::string text = texts.dns_pattern();
      const std::string identity = texts.dns_identity();
      const auto pattern = IdentityPattern::parse(text);
      ASSERT_TRUE(pattern) << text << ": " << pattern.error();
      const bool expected = reference_matches_dns(text, identity);
      ASSERT_EQ(pattern->matches_dns(identity), expected) << text << " and " << identity;
      ASSERT_FALSE(pattern->matches_spiffe(identity)) << text << " and " << identity;
      matched += expected ? 1 : 0;
    }
  }
  EXPECT_GT(matched, 1'000) << "too few of either verdict to tell anything";
}

TEST(IdentityPatternProperty, AnIdentityMatchesIfOneOfItsNamesDoes) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Texts texts(seed);
    for (int round = 0; round < kRounds / 10; ++round) {
      const std::string text = round % 2 == 0 ? texts.spiffe_pattern() : texts.dns_pattern();
      ktls::PeerIdentity peer;
      if (round % 3 != 0) peer.spiffe = texts.spiffe_identity();
      for (int i = 0; i < round % 4; ++i) peer.dns.push_back(texts.dns_identity());
      bool expected = reference_matches_spiffe(text, peer.spiffe);
      for (const std::string& name : peer.dns) {
        expected = expected || reference_matches_dns(text, name);
      }
      ASSERT_EQ(IdentityPattern::parse(text)->matches(peer), expected) << text;
    }
  }
}

}  // namespace
}  // namespace sallyport::gateway
