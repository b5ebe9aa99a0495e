#include "gateway/observe/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gateway/observe/repeat_limit.h"

namespace sallyport::gateway {
namespace {

using nlohmann::ordered_json;
using testing::EndsWith;
using testing::HasSubstr;

// What `write` writes to stderr.
template <class Write>
std::string stderr_of(Write write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, WritesJsonLinesWithTypedFields) {
  configure_log(LogFormat::kJson, LogLevel::kInfo);
  const std::string name = "a\"b\n\xFF{}";
  const std::string text = stderr_of([&] {
    log_warning("config {} refused", {{"file", name},
                                      {"line", 7},
                                      {"bytes", 18'446'744'073'709'551'615ULL},
                                      {"share", 0.5},
                                      {"nothing", std::numeric_limits<double>::quiet_NaN()},
                                      {"kept", true}});
  });
  const auto line = ordered_json::parse(text);
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "config {} refused");
  EXPECT_EQ(line["file"], "a\"b\n\xEF\xBF\xBD{}");
  EXPECT_EQ(line["line"], 7);
  EXPECT_EQ(line["bytes"], 18'446'744'073'709'551'615ULL);
  EXPECT_EQ(line["share"], 0.5);
  EXPECT_TRUE(line["nothing"].is_null());
  EXPECT_EQ(line["kept"], true);
  EXPECT_THAT(line["time"].get<std::string>(), EndsWith("Z"));
}

TEST(Log, WritesTextLines) {
  configure_log(LogFormat::kText, LogLevel::kInfo);
  const std::string text = stderr_of([] { log_error("cannot bind", {{"reason", "in use"}}); });
  EXPECT_THAT(text, EndsWith("Z level=error message=\"cannot bind\" reason=\"in use\"\n"));
}

TEST(Log, LeavesOutLinesBelowItsLevel) {
  configure_log(LogFormat::kText, LogLevel::kWarning);
  EXPECT_EQ(stderr_of([] {
              log_debug("d");
              log_info("i");
            }),
            "");
  EXPECT_THAT(stderr_of([] { log_warning("w"); }), HasSubstr("level=warning message=w"));
}

TEST(Log, WritesListsInBothForms) {
  const std::vector<std::string> list{"a \"b\"", "c"};
  configure_log(LogFormat::kJson, LogLevel::kInfo);
  const auto line = ordered_json::parse(stderr_of([&] { log_info("m", {{"list", list}}); }));
  EXPECT_EQ(line["list"], ordered_json(list));
  configure_log(LogFormat::kText, LogLevel::kInfo);
  EXPECT_THAT(stderr_of([&] { log_info("m", {{"list", list}}); }),
              EndsWith(R"(message=m list="[\"a \\\"b\\\"\",\"c\"]")"
                       "\n"));
}

TEST(Log, PutsThePriorityInFrontForTheJournal) {
  configure_log(LogFormat::kJson, LogLevel::kDebug, true);
  const std::string text = stderr_of([] {
    log_debug("d");
    log_info("i");
    log_warning("w");
    log_error("e");
    log_audit(LogLevel::kInfo, "a");
  });
  configure_log(LogFormat::kJson, LogLevel::kInfo);
  std::string priorities;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    priorities += line.substr(0, 3);
    EXPECT_TRUE(ordered_json::accept(line.substr(3))) << line;
  }
  EXPECT_EQ(priorities, "<7><6><4><3><5>");
}

// What repeats is held back, and the trail of what an operator did is not, however long it is.
TEST(Log, HoldsBackWarningsThatRepeatAndNoAuditLine) {
  configure_log(LogFormat::kJson, LogLevel::kError);
  const std::uint64_t before = lines_held_back();
  constexpr std::uint64_t kMore = 5;
  const std::string text = stderr_of([] {
    const LogThread thread;
    for (std::uint64_t i = 0; i < RepeatLimit::kLines + kMore; ++i) {
      log_error("endpoint is gone", {{"i", i}});
      log_audit(LogLevel::kInfo, "reloaded", {{"i", i}});
    }
    log_held_back();
  });
  std::uint64_t errors = 0;
  std::uint64_t audit = 0;
  ordered_json last;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    last = ordered_json::parse(line);
    errors += last["message"] == "endpoint is gone" ? 1 : 0;
    audit += last["message"] == "reloaded" ? 1 : 0;
  }
  EXPECT_EQ(errors, RepeatLimit::kLines);
  EXPECT_EQ(audit, RepeatLimit::kLines + kMore) << "also below the least level";
  EXPECT_EQ(lines_held_back() - before, kMore);
  EXPECT_EQ(last["message"], "lines held back") << "at the end, at the latest";
  EXPECT_EQ(last["repeated"], "endpoint is gone");
  EXPECT_EQ(last["lines"], kMore);
}

TEST(Log, WritesAllLinesOfAllThreadsThroughItsOwn) {
  configure_log(LogFormat::kJson, LogLevel::kInfo);
  const std::string text = stderr_of([] {
    const LogThread thread;
    std::vector<std::thread> shards;
    for (const int shard : {0, 1}) {
      shards.emplace_back([shard] {
        for (int i = 0; i < 200; ++i) log_info("line", {{"shard", shard}, {"i", i}});
      });
    }
    for (std::thread& each : shards) each.join();
  });
  std::array<int, 2> next{};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = ordered_json::parse(line);
    EXPECT_EQ(json["i"], next.at(json["shard"].get<std::size_t>())++);
  }
  EXPECT_EQ(next, (std::array{200, 200}));
}

// A second SIGTERM did not end the process: its log waited for the reader of stderr.
TEST(Log, EndsAlthoughItsReaderStalls) {
  configure_log(LogFormat::kText, LogLevel::kInfo);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const int kept = ::dup(STDERR_FILENO);
  ASSERT_EQ(::dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  constexpr std::uint64_t kLines = 4'000;  // more than the pipe and the queue hold
  std::uint64_t dropped = 0;
  {
    const LogThread thread;
    for (std::uint64_t i = 0; i < kLines; ++i) log_info(std::string(100, 'x'));
    dropped = thread.dropped().at(static_cast<std::size_t>(DropCause::kSlowReader));
  }
  ::dup2(kept, STDERR_FILENO);
  for (const int each : {ends[0], ends[1], kept}) ::close(each);
  EXPECT_GT(dropped, 0U);
  EXPECT_LT(dropped, kLines);
}

TEST(Log, WritesAtOnceAgainAfterItsThreadIsGone) {
  configure_log(LogFormat::kText, LogLevel::kInfo);
  {
    const LogThread thread;
  }
  EXPECT_THAT(stderr_of([] { log_info("still here"); }), HasSubstr("still here"));
}

}  // namespace
}  // namespace sallyport::gateway
