// The access log: one line per connection at its end, one per refusal.
//
// Shards hand over records and go on: a lock-free list takes them to one writer thread, which makes
// the text and writes in batches, of some milliseconds. If the reader of the log stalls, lines are
// dropped and counted; a shard never waits for it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "gateway/connection/connection_facts.h"
#include "gateway/observe/line_output.h"
#include "gateway/observe/log.h"
#include "gateway/observe/logged_connections.h"

namespace sallyport::gateway {

/// The line, without the newline. JSON keys come in the order of docs/operate.md; invalid UTF-8 is
/// replaced by U+FFFD. Text is key=value, quoted where a value needs it. With `priorities`, "<n>"
/// stands in front: debug for probes, info for what ended_well(), else notice.
[[nodiscard]] std::string format_line(const ConnectionFacts& record, LogFormat format,
                                      bool priorities = false);

struct AccessLogOptions {
  int descriptor = 1;  ///< not owned; a file, pipe, socket or terminal, blocking or not
  LogFormat format = LogFormat::kJson;
  bool priorities = false;  ///< for the journal, see format_line()
  LoggedConnections logged = {};
  std::size_t capacity = 16'384;  ///< records that may wait; more are dropped
  /// The destructor waits for a reader that stalls at most this long.
  std::chrono::milliseconds flush_timeout{2'000};
  /// Called by the writer thread with the number of lines that were dropped since the last call, at
  /// most once a second and once at the end, for each cause. Write an operational line there.
  std::function<void(DropCause cause, std::uint64_t lines)> on_dropped;
  /// Called by the writer thread with each record once its line is made, and with refusals that get
  /// none. May be empty.
  std::function<void(ConnectionFacts record)> on_record = {};
};

class AccessLog final : public ConnectionLog {
 public:
  explicit AccessLog(AccessLogOptions options);
  /// Writes what waits, within flush_timeout, and joins the writer. No write() may be under way.
  ~AccessLog() override;
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// Any thread; never blocks on the reader, may allocate.
  void write(ConnectionFacts record) override;

  /// Any thread. kSlowReader: the queue was full, or the end was not waited for.
  [[nodiscard]] DroppedLines dropped() const noexcept { return output_.dropped(); }
  /// Any thread. Lines that `logged` left out, by LeftOut.
  [[nodiscard]] std::uint64_t left_out(LeftOut why) const noexcept {
    return left_out_[static_cast<std::size_t>(why)].load(std::memory_order_relaxed);
  }

 private:
  struct Node;

  void push(Node* node);
  void run();
  void report_dropped(bool at_end);

  AccessLogOptions options_;
  LineOutput output_;
  std::atomic<Node*> newest_{nullptr};  // a stack; the writer takes and reverses it as a whole
  std::atomic<std::size_t> waiting_{0};
  std::atomic<std::uint64_t> written_{0};  // the number of write() calls
  std::array<std::atomic<std::uint64_t>, kLeftOutWords.size()> left_out_{};
  DroppedLines dropped_reported_{};  // this and what follows: writer thread only
  std::chrono::steady_clock::time_point report_after_{};
  std::thread writer_;
};

}  // namespace sallyport::gateway
