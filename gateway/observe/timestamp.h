// Times as text.
#pragma once

#include <chrono>
#include <string>

namespace sallyport::gateway {

/// RFC 3339 in UTC with milliseconds: "2026-11-22T02:16:49.123Z".
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);
/// The same for a time of ASN.1, which may lie outside of what the system clock's type holds (1677
/// to 2262): 9999-12-31 is common in certificates without an end (RFC 5280 4.1.2.5).
[[nodiscard]] std::string rfc3339(std::chrono::sys_seconds time);

}  // namespace sallyport::gateway
