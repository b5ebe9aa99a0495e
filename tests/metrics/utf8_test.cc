#include "metrics/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace sallyport::metrics {
namespace {

/// RFC 3629 3: `code` in as few bytes as it can be written in.
std::string encoded(std::uint32_t code) {
  const auto tail = [&](unsigned shift) {
    return static_cast<char>(0x80 | (code >> shift & 0x3F));
  };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

bool is_character(std::uint32_t code) {
  return code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

TEST(Utf8Sequence, IsAsLongAsTheCharacterThatBeginsTheText) {
  for (std::uint32_t code = 0; code <= 0x10FFFF; ++code) {
    const std::string text = encoded(code);
    const std::size_t expected = is_character(code) ? text.size() : 0;
    ASSERT_EQ(utf8_sequence(text + "z"), expected) << std::hex << code;
    ASSERT_EQ(utf8_sequence(text), expected) << std::hex << code;
  }
}

TEST(Utf8Sequence, IsNoneWhereTheLastByteIsMissing) {
  for (std::uint32_t code = 0; code <= 0x10FFFF; ++code) {
    std::string text = encoded(code);
    text.pop_back();
    ASSERT_EQ(utf8_sequence(text), 0U) << std::hex << code;
    if (!text.empty()) ASSERT_EQ(utf8_sequence(text + "z"), 0U) << std::hex << code;
  }
}

TEST(Utf8Sequence, IsNoneBeyondTheLastCharacter) {
  for (std::uint32_t code = 0x110000; code <= 0x1FFFFF; ++code) {
    ASSERT_EQ(utf8_sequence(encoded(code)), 0U) << std::hex << code;
  }
}

TEST(Utf8Sequence, OfTwoBytesExistsForTheCharactersThatNeedTwo) {
  for (unsigned first = 0x80; first <= 0xFF; ++first) {
    for (unsigned second = 0; second <= 0xFF; ++second) {
      const std::string text{static_cast<char>(first), static_cast<char>(second)};
      const bool valid = first >= 0xC2 && first <= 0xDF && second >= 0x80 && second <= 0xBF;
      ASSERT_EQ(utf8_sequence(text), valid ? 2U : 0U) << first << " " << second;
    }
  }
}

TEST(ValidUtf8, KeepsWhatIsValidAndReplacesEachWrongByte) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(valid_utf8("plain"), "plain");
  EXPECT_EQ(valid_utf8("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"),
            "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(valid_utf8("\xC3"), bad);                                // cut off
  EXPECT_EQ(valid_utf8("\xC0\xAF"), bad + bad);                      // overlong
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), bad + bad + bad);            // surrogate
  EXPECT_EQ(valid_utf8("\xF4\x90\x80\x80"), bad + bad + bad + bad);  // beyond U+10FFFF
  EXPECT_EQ(valid_utf8("a\x80z"), "a" + bad + "z");
}

}  // namespace
}  // namespace sallyport::metrics
