#include "gateway/observe/log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <memory>
#include <mutex>
#include <span>
#include <type_traits>
#include <vector>

#include "gateway/observe/priority.h"
#include "gateway/observe/repeat_limit.h"
#include "gateway/observe/text_value.h"
#include "gateway/observe/timestamp.h"
#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

// Lines that may wait for the reader of stderr; spdlog keeps room for all of them (0.4 MiB).
constexpr std::size_t kWaitingLines = 1024;
// The end of the log waits so long for a reader that stalls.
constexpr std::chrono::seconds kFlushTimeout{2};

// The log is a global, together with spdlog's own registry: every part may log, also before and
// after main() has objects.
std::atomic<LogFormat> format_wanted{LogFormat::kText};
std::atomic<bool> priorities_wanted{false};

struct Repeats {
  std::mutex mutex;
  RepeatLimit limit;
  std::atomic<std::uint64_t> held_back{0};
};

// Never destroyed: there may be lines after main().
Repeats& repeats() {
  static Repeats* const all = new Repeats;
  return *all;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  constexpr std::array kLevels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                               spdlog::level::err};
  return kLevels.at(static_cast<std::size_t>(level));
}

std::string_view word(LogLevel level) {
  constexpr std::array<std::string_view, 4> kWords{"debug", "info", "warning", "error"};
  return kWords.at(static_cast<std::size_t>(level));
}

void install(const std::shared_ptr<spdlog::logger>& logger, spdlog::level::level_enum level) {
  logger->set_pattern("%v");  // the line is complete when it comes here
  logger->set_level(level);
  spdlog::set_default_logger(logger);
}

std::shared_ptr<spdlog::logger> direct_logger() {
  return std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

spdlog::logger& logger() {
  static const bool installed = [] {
    install(direct_logger(), spdlog::level::info);
    return true;
  }();
  static_cast<void>(installed);
  return *spdlog::default_logger_raw();
}

Priority priority(LogLevel level) {
  constexpr std::array kPriorities{Priority::kDebug, Priority::kInfo, Priority::kWarning,
                                   Priority::kError};
  return kPriorities.at(static_cast<std::size_t>(level));
}

std::string list_text(std::span<const std::string> list) {
  std::string text = "[";
  for (const std::string& each : list) {
    if (text.size() > 1) text += ',';
    text += json_string(each);
  }
  return text + ']';
}

void add(LogLine& line, const LogField& field) {
  std::visit(
      [&](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::same_as<Held, std::string_view>) {
          line.text(field.key, held);
        } else if constexpr (std::same_as<Held, bool>) {
          line.boolean(field.key, held);
        } else if constexpr (std::same_as<Held, std::span<const std::string>>) {
          line.structured(field.key, list_text(held));
        } else {
          line.number(field.key, held);
        }
      },
      field.value);
}

std::string line_of(LogLevel level, Priority priority, std::string_view message, LogFields fields) {
  LogLine line(format_wanted.load(std::memory_order_relaxed),
               priorities_wanted.load(std::memory_order_relaxed) ? prefix(priority) : "");
  line.text("time", rfc3339(std::chrono::system_clock::now()));
  line.text("level", word(level));
  line.text("message", message);
  for (const LogField& field : fields) add(line, field);
  return line.finish();
}

// The overload for a view takes the text as it is: braces in it are no format.
void write(spdlog::level::level_enum level, const std::string& line) {
  logger().log(level, spdlog::string_view_t(line.data(), line.size()));
}

bool is_held_back(std::string_view message) {
  Repeats& all = repeats();
  const std::lock_guard lock(all.mutex);
  if (all.limit.admits(message, std::chrono::steady_clock::now())) return false;
  ++all.held_back;
  return true;
}

void log(LogLevel level, std::string_view message, LogFields fields) {
  if (!logger().should_log(spdlog_level(level))) return;
  if (level >= LogLevel::kWarning && is_held_back(message)) return;
  write(spdlog_level(level), line_of(level, priority(level), message, fields));
}

void tell_held_back(bool all) {
  std::vector<RepeatLimit::HeldBack> held;
  {
    const std::lock_guard lock(repeats().mutex);
    held = repeats().limit.take(std::chrono::steady_clock::now(), all);
  }
  for (const RepeatLimit::HeldBack& each : held)
    log_audit(LogLevel::kWarning, "lines held back",
              {{"repeated", each.message}, {"lines", each.lines}});
}

}  // namespace

void log_debug(std::string_view message, LogFields fields) {
  log(LogLevel::kDebug, message, fields);
}
void log_info(std::string_view message, LogFields fields) {
  log(LogLevel::kInfo, message, fields);
}
void log_warning(std::string_view message, LogFields fields) {
  log(LogLevel::kWarning, message, fields);
}
void log_error(std::string_view message, LogFields fields) {
  log(LogLevel::kError, message, fields);
}

// Of no level that a logger leaves out.
void log_audit(LogLevel level, std::string_view message, LogFields fields) {
  const Priority least = level == LogLevel::kInfo ? Priority::kNotice : priority(level);
  write(spdlog::level::critical, line_of(level, least, message, fields));
}

void log_held_back() {
  tell_held_back(false);
}

std::uint64_t lines_held_back() {
  return repeats().held_back;
}

void configure_log(LogFormat wanted, LogLevel level, bool with_priorities) {
  format_wanted.store(wanted, std::memory_order_relaxed);
  priorities_wanted.store(with_priorities, std::memory_order_relaxed);
  logger().set_level(spdlog_level(level));
}

// Writes what waits to stderr. Only the thread of the pool calls it.
class LogThread::Sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  LineOutput output{STDERR_FILENO};

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    text_.assign(line.data(), line.size());
    output.write(text_);
  }
  void flush_() override {}

  std::string text_;
};

struct LogThread::Pool {
  spdlog::details::thread_pool threads{kWaitingLines, 1};
};

LogThread::LogThread() : sink_(std::make_shared<Sink>()) {
  {
    const iouring::SignalsMasked masked;
    pool_ = std::make_shared<Pool>();
  }
  const std::shared_ptr<spdlog::details::thread_pool> threads(pool_, &pool_->threads);
  install(std::make_shared<spdlog::async_logger>("", sink_, threads,
                                                 spdlog::async_overflow_policy::overrun_oldest),
          logger().level());
}

LogThread::~LogThread() {
  tell_held_back(true);
  sink_->output.give_up_after(kFlushTimeout);
  install(direct_logger(), logger().level());
  pool_.reset();  // joins, after the last waiting line
}

DroppedLines LogThread::dropped() const {
  DroppedLines lines = sink_->output.dropped();
  lines[static_cast<std::size_t>(DropCause::kSlowReader)] += pool_->threads.overrun_counter();
  return lines;
}

}  // namespace sallyport::gateway
