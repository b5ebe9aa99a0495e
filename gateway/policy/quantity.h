// Durations and sizes as flags and files write them. Pure; an error is what is wrong with the text.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace sallyport::gateway {

/// "500ms", "10s", "5m", "1h" or "0".
[[nodiscard]] std::expected<std::chrono::milliseconds, std::string> parse_duration(
    std::string_view text);

/// "64M": bytes, or with K, M or G behind it units of 1024, 1024^2, 1024^3.
[[nodiscard]] std::expected<std::uint64_t, std::string> parse_size(std::string_view text);

}  // namespace sallyport::gateway
