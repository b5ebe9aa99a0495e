// The values of key=value log lines.
#pragma once

#include <string>
#include <string_view>

namespace sallyport::gateway {

/// `value` unchanged if it is unambiguous after `key=`, else as a JSON string, so that what a peer
/// put into it cannot look like another key or another line.
[[nodiscard]] std::string text_value(std::string_view value);

/// `value` as a JSON string with its quotes; invalid UTF-8 is replaced by U+FFFD.
[[nodiscard]] std::string json_string(std::string_view value);

}  // namespace sallyport::gateway
