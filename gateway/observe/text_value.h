// The values of key=value log lines.
#pragma once

#include <string>
#include <string_view>

namespace sallyport::gateway {

/// `value` unchanged if it is unambiguous after `key=`, else as a JSON string, so that what a peer
/// put into it cannot look like another key or another line.
[[nodiscard]] std::string text_value(std::string_view value);

/// `value` as a JSON string with its quotes; invalid UTF-8 is replaced by U+FFFD, and controls are
/// escaped.
[[nodiscard]] std::string json_string(std::string_view value);

/// `value` for a terminal: as json_string() has it, controls of every kind escaped, without quotes.
[[nodiscard]] std::string terminal_text(std::string_view value);

/// JSON text with the controls escaped that JSON itself lets stand: DEL, C1 (U+0080 to U+009F),
/// line and paragraph separators, and the bidirectional ones, by which a name can look like another
/// one on a terminal.
[[nodiscard]] std::string escape_controls(std::string json);

}  // namespace sallyport::gateway
