#include "ktls/base/spiffe.h"

#include <gtest/gtest.h>

namespace sallyport::ktls {
namespace {

TEST(SpiffeText, IsLettersDigitsDotsDashesAndUnderscores) {
  std::string allowed;
  for (int c = 0; c < 256; ++c) {
    if (is_spiffe_char(static_cast<char>(c))) allowed += static_cast<char>(c);
  }
  EXPECT_EQ(allowed, "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
}

TEST(SpiffeText, IsRefusedForOneOtherCharacter) {
  EXPECT_TRUE(is_spiffe_text("Example-1.org_2"));
  EXPECT_TRUE(is_spiffe_text(""));
  for (const std::string_view text : {"a b", "a%2f", "a/b", "a:1", "user@a", "\xc3\xbc"}) {
    EXPECT_FALSE(is_spiffe_text(text)) << text;
  }
}

TEST(SpiffeText, KnowsTheSegmentsThatLeadElsewhere) {
  EXPECT_TRUE(is_dot_segment("."));
  EXPECT_TRUE(is_dot_segment(".."));
  EXPECT_FALSE(is_dot_segment(""));
  EXPECT_FALSE(is_dot_segment("..."));
  EXPECT_FALSE(is_dot_segment(".a"));
}

TEST(AsciiLower, LeavesEveryByteThatIsNoCapitalLetter) {
  for (int c = 0; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    const bool capital = c >= 'A' && c <= 'Z';
    EXPECT_EQ(ascii_lower(byte), capital ? static_cast<char>(c + 32) : byte) << c;
  }
  EXPECT_EQ(ascii_lower("SPIFFE://\xc3\x84"), "spiffe://\xc3\x84");
}

}  // namespace
}  // namespace sallyport::ktls
