#include "ktls/trust/pem_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::ktls {
namespace {

using ::testing::HasSubstr;

std::string error_of(std::string_view text) {
  const auto blocks = cut_pem(text, "f");
  return blocks ? "" : blocks.error().message();
}

TEST(PemFile, CountsLinesAndIgnoresWhatStandsBetween) {
  for (const std::string_view newline : {"\n", "\r\n", "\r"}) {
    std::string text;
    for (const std::string_view line : {"text", "-----BEGIN A-----", "x", "-----END A-----", "",
                                        "-----BEGIN B-----", "-----END B-----"})
      text.append(line).append(newline);
    const auto blocks = cut_pem(text, "f");
    ASSERT_TRUE(blocks);
    ASSERT_EQ(blocks->size(), 2U);
    EXPECT_EQ((*blocks)[0].label, "A");
    EXPECT_EQ((*blocks)[0].line, 2U);
    EXPECT_EQ((*blocks)[0].text->view(), "-----BEGIN A-----\nx\n-----END A-----\n");
    EXPECT_EQ((*blocks)[1].line, 6U);
  }
}

TEST(PemFile, FindsBlocksThatDoNotBeginTheirLine) {
  const auto blocks = cut_pem(
      "\xef\xbb\xbf-----BEGIN A----- \t\n  x \n\n-----END A-----"
      "-----BEGIN A-----\ny\n -----END A-----",
      "f");
  ASSERT_TRUE(blocks) << blocks.error().message();
  ASSERT_EQ(blocks->size(), 2U);
  EXPECT_EQ((*blocks)[0].text->view(), "-----BEGIN A-----\nx\n-----END A-----\n");
  EXPECT_EQ((*blocks)[1].text->view(), "-----BEGIN A-----\ny\n-----END A-----\n");
  EXPECT_EQ((*blocks)[1].line, 4U);
}

TEST(PemFile, NamesTheLineOfWhatIsNoBlock) {
  EXPECT_THAT(error_of("\n-----BEGIN A-----\n-----END B-----\n"), HasSubstr("f:3: PEM block ends"));
  EXPECT_THAT(error_of("-----BEGIN A-----\n-----BEGIN B-----\n"), HasSubstr("f:1: "));
  EXPECT_THAT(error_of("\n-----END A-----\n"), HasSubstr("f:2: PEM block without its BEGIN"));
  EXPECT_THAT(error_of("-----BEGIN A-----\nx\n"), HasSubstr("f:1: PEM block without its END"));
  EXPECT_THAT(error_of("\n----BEGIN A----\n"), HasSubstr("f:2: looks like"));
  EXPECT_THAT(error_of("-----begin A-----\nx\n-----end A-----\n"), HasSubstr("f:1: looks like"));
  EXPECT_THAT(error_of("-----BEGIN A\n-----\n"), HasSubstr("f:1: looks like"));
  EXPECT_THAT(error_of(std::string_view("a\n\0", 3)), HasSubstr("f:2: holds a NUL"));
}

TEST(PemFile, TakesTextWithDashesForText) {
  EXPECT_EQ(error_of("-- endpoints --\n----- bag attributes -----\n--\n"), "");
}

}  // namespace
}  // namespace sallyport::ktls
