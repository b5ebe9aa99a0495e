#include "ktls/base/text_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace sallyport::ktls {
namespace {

using ::testing::ElementsAre;

std::vector<std::string_view> lines(std::string_view text) {
  const char end = line_end(text);
  std::vector<std::string_view> all;
  while (!text.empty()) {
    EXPECT_EQ(first_line(text, end), text.substr(0, text.find(end)));
    all.push_back(take_line(text, end));
  }
  return all;
}

TEST(TextLines, EndInLineFeedWithAnyNumberOfCarriageReturnsBefore) {
  EXPECT_THAT(lines("a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(lines("a\n\nb\n"), ElementsAre("a", "", "b"));
  EXPECT_THAT(lines("a\r\nb\r\n"), ElementsAre("a\r", "b\r"));
  EXPECT_THAT(lines("a\r\r\nb\r\r\n"), ElementsAre("a\r\r", "b\r\r"));
  EXPECT_THAT(lines("a"), ElementsAre("a"));
  EXPECT_THAT(lines(""), ElementsAre());
}

TEST(TextLines, EndInCarriageReturnOnlyWithoutAnyLineFeed) {
  EXPECT_THAT(lines("a\rb\r\rc"), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(lines("a\rb\nc\rd"), ElementsAre("a\rb", "c\rd"));
}

TEST(TextLines, AreTrimmedOfWhiteSpaceAndByteOrderMarksAtBothEnds) {
  EXPECT_EQ(trim(" \t\xef\xbb\xbf a b\xef\xbb\xbf\v\f\r\n"), "a b");
  EXPECT_EQ(trim(" \xef\xbb\xbf\t"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\xef\xbb"), "\xef\xbb");
}

}  // namespace
}  // namespace sallyport::ktls
