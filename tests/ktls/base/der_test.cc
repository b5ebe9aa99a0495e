#include "ktls/base/der.h"

#include <gtest/gtest.h>
#include <openssl/asn1.h>

#include <span>
#include <string>

namespace sallyport::ktls {
namespace {

using namespace std::string_literals;

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(Der, TakesOneElementAfterAnother) {
  const std::string text = "\x02\x01\x05\xa0\x00\x04\x81\x02xy"s;
  auto der = bytes(text);
  const auto number = take_element(der);
  ASSERT_TRUE(number);
  EXPECT_TRUE(number->universal);
  EXPECT_EQ(number->tag, V_ASN1_INTEGER);
  ASSERT_EQ(number->content.size(), 1U);
  EXPECT_EQ(number->content[0], std::byte{5});
  const auto tagged = take_element(der);
  ASSERT_TRUE(tagged);
  EXPECT_FALSE(tagged->universal);
  EXPECT_TRUE(tagged->content.empty());
  const auto octets = take_element(der);
  ASSERT_TRUE(octets);
  EXPECT_EQ(octets->content.size(), 2U);
  EXPECT_TRUE(der.empty());
}

TEST(Der, TakesNothingThatIsCutOffOrOfIndefiniteLength) {
  for (const std::string& bad : {""s, "\x30"s, "\x30\x02\x05"s, "\x30\x82\x01"s,
                                 "\x30\x80\x05\x00\x00\x00"s, "\x04\x88\x7f\xff\xff\xff"s}) {
    auto der = bytes(bad);
    EXPECT_FALSE(take_element(der));
    EXPECT_EQ(der.size(), bad.size());
  }
}

}  // namespace
}  // namespace sallyport::ktls
