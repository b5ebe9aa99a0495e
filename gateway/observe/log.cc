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
#include <cmath>
#include <concepts>
#include <memory>
#include <type_traits>

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
std::atomic<LogFormat> format{LogFormat::kText};

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

std::string value_text(const LogField::Value& value, LogFormat as) {
  return std::visit(
      [as](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::same_as<Held, std::string_view>) {
          return as == LogFormat::kJson ? json_string(held) : text_value(held);
        } else if constexpr (std::same_as<Held, bool>) {
          return held ? "true" : "false";
        } else if constexpr (std::same_as<Held, double>) {
          return std::isfinite(held) ? fmt::format("{}", held) : "null";  // JSON has no NaN
        } else {
          return fmt::format("{}", held);
        }
      },
      value);
}

std::string json_line(LogLevel level, std::string_view message, LogFields fields) {
  std::string line =
      fmt::format(R"({{"time":"{}","level":"{}","message":{})",
                  rfc3339(std::chrono::system_clock::now()), word(level), json_string(message));
  for (const LogField& field : fields) {
    line += ',';
    line += json_string(field.key);
    line += ':';
    line += value_text(field.value, LogFormat::kJson);
  }
  line += '}';
  return line;
}

std::string text_line(LogLevel level, std::string_view message, LogFields fields) {
  std::string line =
      fmt::format("{} {}: {}", rfc3339(std::chrono::system_clock::now()), word(level), message);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    line += value_text(field.value, LogFormat::kText);
  }
  return line;
}

void log(LogLevel level, std::string_view message, LogFields fields) {
  spdlog::logger& target = logger();
  if (!target.should_log(spdlog_level(level))) return;
  const std::string line = format.load(std::memory_order_relaxed) == LogFormat::kJson
                               ? json_line(level, message, fields)
                               : text_line(level, message, fields);
  // The overload for a view takes the text as it is: braces in it are no format.
  target.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
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

void configure_log(LogFormat wanted, LogLevel level) {
  format.store(wanted, std::memory_order_relaxed);
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
