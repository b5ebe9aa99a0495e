// Times as text.
#pragma once

#include <chrono>
#include <string>

namespace sallyport::gateway {

/// RFC 3339 in UTC with milliseconds: "2026-11-22T02:16:49.123Z".
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace sallyport::gateway
