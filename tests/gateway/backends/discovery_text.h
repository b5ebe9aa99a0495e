#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "gateway/backends/discovery.h"

namespace sallyport::gateway {

/// What a discovery file of this text says; a test fails where it is refused.
inline Discovery parsed(std::string_view text) {
  auto discovery = parse_discovery(text, "d.json");
  EXPECT_TRUE(discovery) << discovery.error().to_string();
  return discovery ? *discovery : Discovery{};
}

}  // namespace sallyport::gateway
