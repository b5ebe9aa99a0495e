// A descriptor that takes log lines: file, pipe, socket or terminal, and its reader.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sallyport::gateway {

/// Why a line was dropped: the label of log_lines_dropped_total.
enum class DropCause : std::size_t { kSlowReader, kBrokenPipe, kDiskFull, kOther };
inline constexpr std::array<std::string_view, 4> kDropCauseWords{"slow_reader", "broken_pipe",
                                                                 "disk_full", "other"};

[[nodiscard]] constexpr std::string_view to_string(DropCause cause) {
  return kDropCauseWords.at(static_cast<std::size_t>(cause));
}

/// Lines that were dropped, by cause, since the start.
using DroppedLines = std::array<std::uint64_t, kDropCauseWords.size()>;

/// Writes lines in order, waits for a reader that stalls, and drops and counts what the descriptor
/// does not take. One thread writes; members that say so are for any thread.
class LineOutput {
 public:
  /// `descriptor` is not owned, blocking or not. `while_waiting`, if any, is called some twenty
  /// times a second by a write() that waits for the reader.
  explicit LineOutput(int descriptor, std::function<void()> while_waiting = {});

  /// Writes and empties `lines`: whole lines, each with its end. Until all is written or dropped.
  void write(std::string& lines);

  /// Any thread. `timeout` from now, a write() waits for its reader no longer: the end is near.
  void give_up_after(std::chrono::milliseconds timeout) noexcept;
  /// Any thread: give_up_after() was called.
  [[nodiscard]] bool giving_up() const noexcept;

  /// Any thread. Counts lines that never came here.
  void drop(DropCause cause, std::uint64_t lines) noexcept;
  /// Any thread.
  [[nodiscard]] DroppedLines dropped() const noexcept;

 private:
  enum class Kind { kFile, kPipe, kSocket };

  [[nodiscard]] bool wait_writable() const;

  int descriptor_;
  std::function<void()> while_waiting_;
  Kind kind_ = Kind::kPipe;
  bool mid_line_ = false;                    // the last write() dropped the rest of a line
  std::atomic<std::int64_t> give_up_at_{0};  // steady clock, ns; 0: not yet
  std::array<std::atomic<std::uint64_t>, kDropCauseWords.size()> dropped_{};
};

}  // namespace sallyport::gateway
