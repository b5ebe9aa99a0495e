#include "ktls/base/base64.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

namespace sallyport::ktls {
namespace {

std::string decoded(std::string_view text) {
  const auto size = base64_size(text);
  if (!size) return "no base64";
  std::string bytes(*size, '\0');
  return decode_base64(text, std::as_writable_bytes(std::span(bytes))) ? bytes : "no base64";
}

TEST(Base64, DecodesTheVectorsOfItsRfc) {
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
}

TEST(Base64, DecodesNothingElse) {
  for (const char* bad : {"Zg", "Zg=", "Zg===", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm9v    ",
                          "Zm-v", "Zm_v", "=m9v", "Zm9v\xc3\xa4\xc3\xa4"})
    EXPECT_EQ(decoded(bad), "no base64") << bad;
}

TEST(Base64, DoesNotDecodeIntoAnotherSize) {
  std::string bytes(2, '\0');
  EXPECT_FALSE(decode_base64("Zm9v", std::as_writable_bytes(std::span(bytes))));
}

}  // namespace
}  // namespace sallyport::ktls
