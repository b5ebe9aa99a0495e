// How important a line is, for the journal: "<n>" in front of it (sd-daemon(3)).
#pragma once

#include <cstdint>
#include <string_view>

namespace sallyport::gateway {

/// Numbers of syslog(3).
enum class Priority : std::uint8_t { kError = 3, kWarning, kNotice, kInfo, kDebug };

/// "<6>"
[[nodiscard]] std::string_view prefix(Priority priority);

/// Whether what is written to `descriptor` goes to the journal: `journal_stream`, the value of
/// JOURNAL_STREAM (systemd.exec(5)) or null, has its device and inode. It has those of one of
/// stdout and stderr, and the other may lead elsewhere.
[[nodiscard]] bool is_journal(int descriptor, const char* journal_stream);

}  // namespace sallyport::gateway
