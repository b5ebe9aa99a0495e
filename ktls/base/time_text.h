#pragma once

#include <chrono>
#include <string>

namespace sallyport::ktls {

/// RFC 3339 in UTC: "2026-11-29T05:45:00Z".
std::string time_text(std::chrono::sys_seconds time);

}  // namespace sallyport::ktls
