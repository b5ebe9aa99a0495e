#include "gateway/policy/config_error.h"

#include <gtest/gtest.h>

namespace sallyport::gateway {
namespace {

TEST(ConfigError, NamesFileLineAndKey) {
  EXPECT_EQ((ConfigError{"p.json", 3, "routes.a", "unknown key"}).to_string(),
            "p.json:3: routes.a: unknown key");
  EXPECT_EQ((ConfigError{"p.json", 3, "", "not JSON"}).to_string(), "p.json:3: not JSON");
  EXPECT_EQ((ConfigError{"p.json", 0, "route 'a'", "lost"}).to_string(), "p.json: route 'a': lost");
  EXPECT_EQ((ConfigError{"", 0, "", "lost"}).to_string(), "lost");
}

TEST(Printable, KeepsTextAndEscapesTheRest) {
  EXPECT_EQ(printable("orders.example.org"), "orders.example.org");
  EXPECT_EQ(printable("Grüße €\U0001F512"), "Grüße €\U0001F512");
  EXPECT_EQ(printable("a\nb\x1b[31m\x7f"), "a\\x0ab\\x1b[31m\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xC2\x85"), "\\xc2\\x85") << "U+0085 is a line end for terminals";
}

TEST(Printable, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(printable("\xC3("), "\\xc3(");
  EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf") << "overlong";
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "above U+10FFFF";
  EXPECT_EQ(printable("\xE2\x82"), "\\xe2\\x82") << "cut short";
}

TEST(Printable, CutsWhatIsLong) {
  EXPECT_EQ(printable(std::string(500, 'x'), 4), "xxxx...");
}

}  // namespace
}  // namespace sallyport::gateway
