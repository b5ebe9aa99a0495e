#include "gateway/policy/suggestion.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace sallyport::gateway {
namespace {

constexpr std::array<std::string_view, 8> kNames{"listen", "allow", "allow-any-verified", "policy",
                                                 "on",     "off",   "tls_name",           "tls_id"};

TEST(Suggestion, FindsAMisspeltName) {
  struct {
    std::string_view word, meant;
  } const cases[] = {
      {"lsiten", "listen"},   // exchanged
      {"lisen", "listen"},    // missing
      {"listenn", "listen"},  // too many
      {"kisten", "listen"},   // wrong
      {"alow", "allow"},      // the shorter one is nearer
      {"allow-any-verfied", "allow-any-verified"},
      {"allow_any_verified", "allow-any-verified"},
      {"LISTEN", "listen"},
      {"tls-name", "tls_name"},
      {"OFF", "off"},
  };
  for (const auto& [word, meant] : cases) EXPECT_EQ(nearest(word, kNames), meant) << word;
}

TEST(Suggestion, IsSilentWhereNoNameIsNear) {
  for (const std::string_view word : {"", "x", "discovery", "yes", "lyseem", "of", "no"})
    EXPECT_EQ(nearest(word, kNames), std::nullopt) << word;
  EXPECT_EQ(nearest("listen", {}), std::nullopt);
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), kNames), std::nullopt) << "costs nothing";
}

TEST(Suggestion, HasNothingToSayOfANameThatIsKnown) {
  EXPECT_EQ(nearest("off", kNames), std::nullopt);
}

TEST(Suggestion, PrefersTheNearestAndThenTheFirst) {
  constexpr std::array<std::string_view, 3> kNear{"abcdxx", "abcdex", "abcdey"};
  EXPECT_EQ(nearest("abcdez", kNear), "abcdex");
}

TEST(Suggestion, EndsAMessage) {
  EXPECT_EQ(did_you_mean("alow", kNames), "; did you mean 'allow'?");
  EXPECT_EQ(did_you_mean("zzzz", kNames), "");
}

}  // namespace
}  // namespace sallyport::gateway
