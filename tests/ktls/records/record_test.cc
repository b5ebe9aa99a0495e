#include "ktls/records/record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>

namespace sallyport::ktls {
namespace {

// RFC 8446 6: alert(21), legacy_record_version 0x0303, two bytes: fatal(2), internal_error(80).
TEST(PlaintextAlert, IsAFatalAlertInARecordOfItsOwn) {
  const auto record = plaintext_alert(AlertDescription::kInternalError);
  const std::byte expected[] = {std::byte{21}, std::byte{3}, std::byte{3}, std::byte{0},
                                std::byte{2},  std::byte{2}, std::byte{80}};
  EXPECT_TRUE(std::ranges::equal(record, expected));
}

}  // namespace
}  // namespace sallyport::ktls
