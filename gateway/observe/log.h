// The operational log on stderr: what happens to the process, not to one connection.
//
//   log_info("listening", {{"listener", text}, {"port", port}});
//
// One line an event, JSON or text, with time, level, message and the given keys. The message is a
// constant text, what varies goes into fields; secrets (keys, ticket secrets) go nowhere. Warnings
// and errors of one message that repeat are held back (RepeatLimit); the audit trail never is.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/observe/line_output.h"
#include "gateway/observe/log_line.h"

namespace sallyport::gateway {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// A key and its value; valid for the duration of the call that it is passed to.
struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool,
                             std::span<const std::string>>;

  LogField(std::string_view name, std::string_view text) : key(name), value(text) {}
  LogField(std::string_view name, const char* text) : key(name), value(std::string_view(text)) {}
  LogField(std::string_view name, const std::string& text)
      : key(name), value(std::string_view(text)) {}
  LogField(std::string_view name, bool flag) : key(name), value(flag) {}
  LogField(std::string_view name, std::signed_integral auto number)
      : key(name), value(static_cast<std::int64_t>(number)) {}
  LogField(std::string_view name, std::unsigned_integral auto number)
    requires(!std::same_as<decltype(number), bool>)
      : key(name), value(static_cast<std::uint64_t>(number)) {}
  LogField(std::string_view name, double number) : key(name), value(number) {}
  LogField(std::string_view name, const std::vector<std::string>& list)
      : key(name), value(std::span<const std::string>(list)) {}

  std::string_view key;
  Value value;
};

using LogFields = std::initializer_list<LogField>;

/// Any thread. Before a LogThread exists, and after it is gone, lines are written at once.
void log_debug(std::string_view message, LogFields fields = {});
void log_info(std::string_view message, LogFields fields = {});
void log_warning(std::string_view message, LogFields fields = {});
void log_error(std::string_view message, LogFields fields = {});

/// Any thread. The audit trail: what came into force, what did not, who asked for it. Written
/// whatever the least level is, and however many there are.
void log_audit(LogLevel level, std::string_view message, LogFields fields = {});

/// Any thread. Says how many lines were held back in windows that are over, a line a message. Call
/// it now and then.
void log_held_back();
/// Any thread. How many were, since the start.
[[nodiscard]] std::uint64_t lines_held_back();

/// Format and least level of lines from now on (before: text, info), and whether "<n>" stands in
/// front of them, for the journal. Call before threads start.
void configure_log(LogFormat format, LogLevel level, bool priorities = false);

/// While it lives, lines are written by a thread of its own, so that no other thread waits for the
/// reader of stderr; if that one stalls, the oldest waiting lines are dropped. One at a time; make
/// it before other threads start, and destroy it after they ended.
class LogThread {
 public:
  LogThread();
  /// Writes what waits, and waits two seconds for a reader that stalls.
  ~LogThread();
  LogThread(const LogThread&) = delete;
  LogThread& operator=(const LogThread&) = delete;

  /// Any thread.
  [[nodiscard]] DroppedLines dropped() const;

 private:
  class Sink;
  struct Pool;
  std::shared_ptr<Sink> sink_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace sallyport::gateway
