#include "ktls/base/text_lines.h"

#include <gtest/gtest.h>

namespace sallyport::ktls {
namespace {

TEST(TextLines, EndInLineFeedOrCarriageReturnOrBoth) {
  EXPECT_EQ(first_line("a\nb"), "a");
  EXPECT_EQ(first_line("a\r\nb"), "a");
  EXPECT_EQ(first_line("a\rb"), "a");
  EXPECT_EQ(first_line("a"), "a");
  EXPECT_EQ(line_end_size("\nb"), 1U);
  EXPECT_EQ(line_end_size("\r\nb"), 2U);
  EXPECT_EQ(line_end_size("\rb"), 1U);
  EXPECT_EQ(line_end_size("\n\r"), 1U);
  EXPECT_EQ(line_end_size("b"), 0U);
  EXPECT_EQ(line_end_size(""), 0U);
}

TEST(TextLines, AreTrimmedOfWhiteSpaceAndByteOrderMarksAtBothEnds) {
  EXPECT_EQ(trim(" \t\xef\xbb\xbf a b\xef\xbb\xbf\v\f\r\n"), "a b");
  EXPECT_EQ(trim(" \xef\xbb\xbf\t"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\xef\xbb"), "\xef\xbb");
}

}  // namespace
}  // namespace sallyport::ktls
