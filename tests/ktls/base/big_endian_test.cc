#include "ktls/base/big_endian.h"

#include <gtest/gtest.h>

namespace sallyport::ktls {
namespace {

TEST(BigEndian, PutsTheHighestByteFirst) {
  const auto bytes = big_endian(0x0102'0304'0506'0708);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<int>(bytes[static_cast<size_t>(i)]), i + 1);
}

TEST(BigEndian, ReadsWhatItWrote) {
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{255}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    EXPECT_EQ(from_big_endian(big_endian(value)), value);
  }
}

TEST(BigEndian, ReadsFewerBytes) {
  const auto bytes = big_endian(0x0102'0304);
  EXPECT_EQ(from_big_endian(std::span(bytes).last(2)), 0x0304U);
  EXPECT_EQ(from_big_endian({}), 0U);
}

}  // namespace
}  // namespace sallyport::ktls
