// The access log: one line per connection at its end, one per refusal.
//
// Shards hand over records and go on: a lock-free list takes them to one writer thread, which makes
// the text and writes in batches, of some milliseconds. If the reader of the log stalls, lines are
// dropped and counted; a shard never waits for it.
#pragma once

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
#include "gateway/observe/log.h"

namespace sallyport::gateway {

/// The line, without the newline. JSON keys come in the order of the contract; invalid UTF-8 is
/// replaced by U+FFFD. Text is key=value, quoted where a value needs it.
[[nodiscard]] std::string format_line(const ConnectionFacts& record, LogFormat format);

struct AccessLogOptions {
  int descriptor = 1;  ///< not owned; a file, pipe, socket or terminal, blocking or not
  LogFormat format = LogFormat::kJson;
  std::size_t capacity = 16'384;  ///< records that may wait; more are dropped
  /// The destructor waits for a reader that stalls at most this long.
  std::chrono::milliseconds flush_timeout{2'000};
  /// Called by the writer thread with the number of lines that were dropped since the last call, at
  /// most once a second and once at the end. Write an operational line there.
  std::function<void(std::uint64_t lines)> on_dropped;
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

  /// Lines lost since the start: the queue was full, or the descriptor failed.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  struct Node;

  enum class Kind { kFile, kPipe, kSocket };

  void push(Node* node);
  void run();
  void write_batch(std::string& text);
  void report_dropped(bool at_end);
  [[nodiscard]] bool wait_writable();

  AccessLogOptions options_;
  Kind kind_;
  std::atomic<Node*> newest_{nullptr};  // a stack; the writer takes and reverses it as a whole
  std::atomic<std::size_t> waiting_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::int64_t> give_up_at_{0};  // steady clock, ns; 0 until the destructor runs
  bool mid_line_ = false;                    // this and what follows: writer thread only
  std::uint64_t dropped_reported_ = 0;
  std::chrono::steady_clock::time_point report_after_{};
  std::thread writer_;
};

}  // namespace sallyport::gateway
