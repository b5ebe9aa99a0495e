// The access log: one line per connection at its end, one per refusal.
//
// Shards hand over records and go on: a lock-free list takes them to one writer thread, which makes
// the text and writes in batches, of some milliseconds. If whoever reads the log stalls, lines are
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

#include "gateway/log/log.h"
#include "gateway/serve/close_reason.h"

namespace sallyport::gateway {

/// What is known of a connection at its end. Empty strings and nullopt are what was never known: a
/// line of a refusal leaves those keys out, a line of a served connection shows them empty.
struct ConnectionRecord {
  std::chrono::system_clock::time_point time;  ///< of the end
  std::string id;
  std::string listener;
  std::string client;    ///< address and port
  std::string identity;  ///< "-" for a verified certificate without a usable name
  std::string sni;
  std::string alpn;
  std::string route;
  std::string backend;
  std::string tls;     ///< "TLSv1.3"
  std::string cipher;  ///< "TLS_AES_128_GCM_SHA256"
  std::string group;   ///< "X25519"
  std::optional<bool> resumed;
  std::string records;               ///< "kernel" or "userspace"
  std::uint64_t received_bytes = 0;  ///< application bytes from the client
  std::uint64_t sent_bytes = 0;      ///< application bytes to the client
  std::optional<std::chrono::nanoseconds> handshake;
  std::optional<std::chrono::nanoseconds> connect;
  std::chrono::nanoseconds duration{0};
  CloseReason reason = CloseReason::kInternalError;

  /// Refusals: of the certificate that was refused, where there was one.
  bool refused = false;
  std::string issuer;
  std::string serial;  ///< hexadecimal
  std::optional<std::chrono::system_clock::time_point> not_after;
  std::string detail;  ///< for people: what exactly was wrong
};

/// The line, without the newline. JSON keys come in the order of the contract; invalid UTF-8 is
/// replaced by U+FFFD. Text is key=value, quoted where a value needs it.
[[nodiscard]] std::string format_line(const ConnectionRecord& record, LogFormat format);

struct AccessLogOptions {
  int descriptor = 1;  ///< not owned; a file, pipe, socket or terminal, blocking or not
  LogFormat format = LogFormat::kJson;
  std::size_t capacity = 16'384;  ///< records that may wait; more are dropped
  /// At destruction a reader that stalls is waited for at most so long.
  std::chrono::milliseconds flush_timeout{2'000};
  /// Told by the writer thread how many lines were dropped since it was told last, at most once a
  /// second and once at the end. Write an operational line there.
  std::function<void(std::uint64_t lines)> on_dropped;
};

class AccessLog {
 public:
  explicit AccessLog(AccessLogOptions options);
  /// Writes what waits, within flush_timeout, and joins the writer. No write() may be under way.
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// Any thread; never blocks on the reader, may allocate.
  void write(ConnectionRecord record);

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
  std::atomic<Node*> newest_{nullptr};  // a stack; the writer takes it whole and turns it round
  std::atomic<std::size_t> waiting_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::int64_t> give_up_at_{0};  // steady clock, ns; 0 until the destructor runs
  bool mid_line_ = false;                    // this and what follows: writer thread only
  std::uint64_t dropped_reported_ = 0;
  std::chrono::steady_clock::time_point report_after_{};
  std::thread writer_;
};

}  // namespace sallyport::gateway
