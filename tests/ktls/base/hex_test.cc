#include "ktls/base/hex.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace sallyport::ktls {
namespace {

constexpr std::array kBytes = {std::byte{0x00}, std::byte{0x09}, std::byte{0x9a}, std::byte{0xff}};

TEST(Hex, EncodesTwoDigitsAByte) {
  EXPECT_EQ(encode_hex(kBytes), "00099aff");
  EXPECT_EQ(encode_hex(kBytes, HexCase::kUpper), "00099AFF");
  EXPECT_EQ(encode_hex(std::array<std::uint8_t, 2>{0x01, 0xfe}), "01fe");
  EXPECT_EQ(encode_hex(std::span<const std::byte>{}), "");
}

TEST(Hex, EncodesANumberWithItsLeadingZeros) {
  EXPECT_EQ(encode_hex(std::uint64_t{0}), "0000000000000000");
  EXPECT_EQ(encode_hex(std::uint64_t{0x0123'4567'89ab'cdef}), "0123456789abcdef");
}

TEST(Hex, AppendsOneByte) {
  std::string text = "\\x";
  append_hex(text, std::byte{0x0d});
  EXPECT_EQ(text, "\\x0d");
}

TEST(Hex, DecodesEitherCase) {
  std::array<std::byte, 4> out;
  ASSERT_TRUE(decode_hex("00099aFf", out));
  EXPECT_EQ(out, kBytes);
  EXPECT_TRUE(decode_hex("", {}));
}

TEST(Hex, RefusesAnythingButTwoDigitsForEachByte) {
  std::array<std::byte, 2> out;
  for (const std::string_view text :
       {"", "0", "00", "000", "00000", "000000", "0x00", "00 0", "000g", "g000", "00-1", "00/0",
        "00:0", "00@0", "00`0", "00\3770"}) {
    EXPECT_FALSE(decode_hex(text, out)) << text;
  }
  EXPECT_FALSE(decode_hex(std::string_view("00\0000", 4), out)) << "a NUL";
}

TEST(Hex, DecodesWhatItEncoded) {
  std::vector<std::byte> all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::byte>(i);
  std::vector<std::byte> again(all.size());
  ASSERT_TRUE(decode_hex(encode_hex(all), again));
  EXPECT_EQ(again, all);
  ASSERT_TRUE(decode_hex(encode_hex(all, HexCase::kUpper), again));
  EXPECT_EQ(again, all);
}

}  // namespace
}  // namespace sallyport::ktls
