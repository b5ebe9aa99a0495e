#include "gateway/observe/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gateway/observe/timestamp.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;
using nlohmann::ordered_json;
using test::kPatience;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

ConnectionFacts served() {
  ConnectionFacts record;
  record.time = std::chrono::system_clock::time_point(1'700'000'000'123ms);
  record.id = "c1";
  record.listener = "0.0.0.0:8443";
  record.client = "10.0.0.1:1234";
  record.identity = "spiffe://example.org/a";
  record.sni = "orders.example.org";
  record.alpn = "h2";
  record.route = "orders";
  record.backend = "10.0.0.7:8080";
  record.tls = "TLSv1.3";
  record.cipher = "TLS_AES_128_GCM_SHA256";
  record.group = "X25519";
  record.resumed = false;
  record.records = "userspace";
  record.received_bytes = 12;
  record.sent_bytes = 34;
  record.handshake = 1'234'567ns;
  record.connect = 200us;
  record.duration = 5s;
  record.reason = CloseReason::kDone;
  return record;
}

ConnectionFacts refused() {
  ConnectionFacts record;
  record.time = std::chrono::system_clock::time_point(1'700'000'000'000ms);
  record.id = "c2";
  record.listener = "0.0.0.0:8443";
  record.client = "10.0.0.1:1234";
  record.refused = true;
  record.reason = CloseReason::kCertificateExpired;
  record.issuer = "CN=CA \"one\"";
  record.serial = "0A1B";
  record.not_after = std::chrono::sys_seconds(1'600'000'000s);
  record.detail = "line\nbreak \xFF";
  return record;
}

std::vector<std::string> keys(const ordered_json& line) {
  std::vector<std::string> result;
  for (const auto& [key, value] : line.items()) result.push_back(key);
  return result;
}

TEST(Rfc3339, IsUtcWithMilliseconds) {
  EXPECT_EQ(rfc3339(std::chrono::system_clock::time_point(1'700'000'000'007ms)),
            "2023-11-14T22:13:20.007Z");
  EXPECT_EQ(rfc3339(std::chrono::system_clock::time_point(-1ms)), "1969-12-31T23:59:59.999Z");
}

TEST(AccessLogLine, HasTheKeysOfTheContractInOrder) {
  const auto line = ordered_json::parse(format_line(served(), LogFormat::kJson));
  EXPECT_THAT(keys(line),
              ElementsAre("time", "id", "listener", "direction", "client", "identity", "sni",
                          "alpn", "route", "backend", "backend_address", "local_address",
                          "backend_identity", "backend_resumed", "tls", "cipher", "group",
                          "resumed", "records", "received_bytes", "sent_bytes", "handshake_ms",
                          "connect_ms", "duration_ms", "reason"));
  EXPECT_EQ(line["time"], "2023-11-14T22:13:20.123Z");
  EXPECT_TRUE(line["backend_resumed"].is_null()) << "in plaintext";
  EXPECT_EQ(line["resumed"], false);
  EXPECT_EQ(line["received_bytes"], 12);
  EXPECT_EQ(line["handshake_ms"], 1.235);
  EXPECT_EQ(line["connect_ms"], 0.2);
  EXPECT_EQ(line["duration_ms"], 5'000);
  EXPECT_EQ(line["reason"], "done");
}

TEST(AccessLogLine, OfAServedConnectionShowsEvenWhatIsEmpty) {
  ConnectionFacts record = served();
  record.sni.clear();
  record.connect.reset();
  const auto line = ordered_json::parse(format_line(record, LogFormat::kJson));
  EXPECT_EQ(line.at("sni"), "");
  EXPECT_TRUE(line.at("connect_ms").is_null());
}

TEST(AccessLogLine, ShowsWhomABackendHasProvenToBe) {
  ConnectionFacts record = served();
  record.backend_identity = "spiffe://example.org/orders";
  record.backend_resumed = true;
  const auto line = ordered_json::parse(format_line(record, LogFormat::kJson));
  EXPECT_EQ(line.at("backend_identity"), record.backend_identity);
  EXPECT_EQ(line.at("backend_resumed"), true);
}

TEST(AccessLogLine, ShowsTheProxyThatAClientCameBy) {
  for (ConnectionFacts record : {served(), refused()}) {
    record.proxy = "10.0.0.9:1";
    const auto line = ordered_json::parse(format_line(record, LogFormat::kJson));
    EXPECT_EQ(line.at("client"), "10.0.0.1:1234");
    EXPECT_EQ(line.at("proxy"), "10.0.0.9:1");
    EXPECT_EQ(std::next(line.find("client")).key(), "proxy");
  }
}

TEST(AccessLogLine, OfARefusalShowsWhatIsKnownAndTheCertificate) {
  const auto line = ordered_json::parse(format_line(refused(), LogFormat::kJson));
  EXPECT_THAT(keys(line), ElementsAre("time", "id", "listener", "direction", "client",
                                      "received_bytes", "sent_bytes", "duration_ms", "reason",
                                      "issuer", "serial", "not_after", "detail"));
  EXPECT_EQ(line["reason"], "certificate_expired");
  EXPECT_EQ(line["issuer"], "CN=CA \"one\"");
  EXPECT_EQ(line["not_after"], "2020-09-13T12:26:40.000Z");
  EXPECT_EQ(line["detail"], "line\nbreak \xEF\xBF\xBD");
}

TEST(AccessLogLine, OfARefusalShowsWhatWasPresentedAndOffered) {
  ConnectionFacts record = refused();
  record.alpn_offered = {"h2", "http/1.1"};
  record.presented = std::make_shared<const ktls::PresentedCertificate>(
      ktls::PresentedCertificate{.spiffe = "spiffe://example.org/a",
                                 .dns = {"dns:a", "dns:b"},
                                 .subject = "CN=a",
                                 .serial = "0B",
                                 .issuer = "CN=ca",
                                 .not_after = std::chrono::sys_seconds(253'402'300'799s),
                                 .verified = false});
  const auto line = ordered_json::parse(format_line(record, LogFormat::kJson));
  EXPECT_EQ(line["alpn_offered"], ordered_json({"h2", "http/1.1"}));
  EXPECT_THAT(keys(line["presented"]),
              ElementsAre("spiffe", "dns", "subject", "serial", "issuer", "not_after", "verified"));
  EXPECT_EQ(line["presented"]["dns"], ordered_json({"dns:a", "dns:b"}));
  EXPECT_EQ(line["presented"]["not_after"], "9999-12-31T23:59:59.000Z");
  EXPECT_EQ(line["presented"]["verified"], false);
  EXPECT_THAT(format_line(record, LogFormat::kText),
              HasSubstr(R"( alpn_offered="[\"h2\",\"http/1.1\"]" presented="{\"spiffe\":)"));
}

TEST(AccessLogLine, EscapesEveryControl) {
  ConnectionFacts record = refused();
  for (const auto& [control, escaped] :
       std::vector<std::pair<std::string, std::string>>{{"\x1b", "\\u001b"},
                                                        {"\x7f", "\\u007f"},
                                                        {"\xC2\x80", "\\u0080"},
                                                        {"\xC2\x9B", "\\u009b"},  // CSI of one byte
                                                        {"\xD8\x9C", "\\u061c"},
                                                        {"\xE2\x80\x8F", "\\u200f"},
                                                        {"\xE2\x80\xA8", "\\u2028"},
                                                        {"\xE2\x80\xAE", "\\u202e"},
                                                        {"\xE2\x81\xA6", "\\u2066"}}) {
    record.detail = "a" + control + "b";
    for (const LogFormat format : {LogFormat::kJson, LogFormat::kText}) {
      EXPECT_THAT(format_line(record, format), HasSubstr("\"a" + escaped + "b\"")) << escaped;
    }
  }
  record.detail = "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x94\x91 \xC2\xA0";  // no controls
  EXPECT_THAT(format_line(record, LogFormat::kJson), HasSubstr(record.detail));
}

TEST(AccessLogLine, AsTextQuotesValuesThatLookLikeAnotherKeyOrLine) {
  const std::string line = format_line(refused(), LogFormat::kText);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line, HasSubstr("client=10.0.0.1:1234 "));
  EXPECT_THAT(line, HasSubstr("reason=certificate_expired "));
  EXPECT_THAT(line, HasSubstr(R"(issuer="CN=CA \"one\"" )"));
  EXPECT_THAT(line, HasSubstr(R"(detail="line\nbreak )"));
}

TEST(AccessLogLine, AsTextShowsWhatIsEmptyOrUnknown) {
  ConnectionFacts record = served();
  record.sni.clear();
  record.connect.reset();
  const std::string line = format_line(record, LogFormat::kText);
  EXPECT_THAT(line, HasSubstr("sni=\"\" "));
  EXPECT_THAT(line, HasSubstr("connect_ms=- "));
}

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) std::abort();
  }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] int writer() const { return ends_[1]; }
  [[nodiscard]] int reader() const { return ends_[0]; }
  void close_reader() { close(ends_[0]); }
  void close_writer() { close(ends_[1]); }

  // All there is until the writing end is closed.
  [[nodiscard]] std::string read_all() const {
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
      const ssize_t got = ::read(ends_[0], part.data(), part.size());
      if (got <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  std::array<int, 2> ends_{-1, -1};
};

std::uint64_t dropped_by(const AccessLog& log, DropCause cause) {
  return log.dropped().at(static_cast<std::size_t>(cause));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(AccessLog, WritesEveryLineOfEachThreadInItsOrder) {
  constexpr int kEach = 2'000;
  Pipe pipe;
  std::string text;
  std::thread reader([&] { text = pipe.read_all(); });
  {
    AccessLog log({.descriptor = pipe.writer(), .flush_timeout = kPatience, .on_dropped = {}});
    std::vector<std::thread> shards;
    for (const std::string name : {"a", "b"}) {
      shards.emplace_back([&log, name] {
        for (int i = 0; i < kEach; ++i) {
          ConnectionFacts record = served();
          record.id = name;
          record.received_bytes = static_cast<std::uint64_t>(i);
          log.write(std::move(record));
        }
      });
    }
    for (std::thread& shard : shards) shard.join();
  }
  pipe.close_writer();
  reader.join();

  std::map<std::string, int> next;
  const auto lines = lines_of(text);
  EXPECT_EQ(lines.size(), 2U * kEach);
  for (const std::string& line : lines) {
    const auto json = ordered_json::parse(line);
    EXPECT_EQ(json["received_bytes"], next[json["id"]]++);
  }
}

TEST(AccessLog, DropsAndCountsWhatAStalledReaderHasNoRoomFor) {
  constexpr std::uint64_t kLines = 2'000;
  Pipe pipe;
  std::atomic<std::uint64_t> reported = 0;
  std::uint64_t dropped = 0;
  {
    AccessLog log({.descriptor = pipe.writer(),
                   .capacity = 10,
                   .flush_timeout = 0ms,
                   .on_dropped = [&](DropCause, std::uint64_t lines) { reported += lines; }});
    for (std::uint64_t i = 0; i < kLines; ++i) log.write(served());
    dropped = dropped_by(log, DropCause::kSlowReader);
    EXPECT_GT(dropped, 0U);
  }
  EXPECT_GE(reported, dropped);
  pipe.close_writer();
  const auto lines = lines_of(pipe.read_all());
  EXPECT_EQ(lines.size() + reported, kLines);
  for (const std::string& line : lines) EXPECT_TRUE(ordered_json::accept(line)) << line;
}

TEST(AccessLog, GoesOnWhenTheReaderReadsAgain) {
  Pipe pipe;
  AccessLog log({.descriptor = pipe.writer(), .capacity = 100'000, .on_dropped = {}});
  constexpr std::size_t kLines = 1'000;  // more than a pipe holds
  for (std::size_t i = 0; i < kLines; ++i) log.write(served());
  std::size_t seen = 0;
  std::array<char, 4096> part{};
  while (seen < kLines) {
    const ssize_t got = ::read(pipe.reader(), part.data(), part.size());
    ASSERT_GT(got, 0);
    seen += static_cast<std::size_t>(std::count(part.data(), part.data() + got, '\n'));
  }
  EXPECT_EQ(log.dropped(), DroppedLines{});
}

TEST(AccessLog, SurvivesAReaderThatHasGone) {
  Pipe pipe;
  pipe.close_reader();
  std::map<DropCause, std::uint64_t> reported;
  {
    AccessLog log({.descriptor = pipe.writer(),
                   .on_dropped = [&](DropCause cause, auto lines) { reported[cause] += lines; }});
    log.write(served());
    log.write(served());
  }
  EXPECT_THAT(reported, ElementsAre(Pair(DropCause::kBrokenPipe, 2U)));
}

TEST(AccessLog, TellsAFullDisk) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  std::map<DropCause, std::uint64_t> reported;
  {
    AccessLog log({.descriptor = full,
                   .on_dropped = [&](DropCause cause, auto lines) { reported[cause] += lines; }});
    log.write(served());
  }
  ::close(full);
  EXPECT_THAT(reported, ElementsAre(Pair(DropCause::kDiskFull, 1U)));
}

TEST(AccessLog, LeavesProbesOutWhereItIsTold) {
  for (const bool probes : {true, false}) {
    Pipe pipe;
    {
      AccessLog log({.descriptor = pipe.writer(),
                     .logged = {.probes = probes},
                     .flush_timeout = kPatience,
                     .on_dropped = {}});
      ConnectionFacts probe = refused();
      probe.reason = CloseReason::kClosedBeforeHello;
      log.write(probe);
      log.write(served());
    }
    pipe.close_writer();
    EXPECT_EQ(lines_of(pipe.read_all()).size(), probes ? 2U : 1U);
  }
}

// What /refusals shows is not what the log shows.
TEST(AccessLog, LeavesOutAndCountsWhatItIsToldAndStillTellsOfRefusals) {
  Pipe pipe;
  std::vector<CloseReason> told;
  {
    AccessLog log(
        {.descriptor = pipe.writer(),
         .priorities = true,
         .logged = {.which = LogConnections::kNone},
         .flush_timeout = kPatience,
         .on_dropped = {},
         .on_record = [&](const ConnectionFacts& facts) { told.push_back(facts.reason); }});
    log.write(refused());
    log.write(served());
    EXPECT_EQ(log.left_out(LeftOut::kLogConnections), 2U);
    EXPECT_EQ(log.left_out(LeftOut::kLogProbes), 0U);
    EXPECT_EQ(log.left_out(LeftOut::kLogSample), 0U);
  }
  pipe.close_writer();
  EXPECT_EQ(pipe.read_all(), "");
  EXPECT_THAT(told, ElementsAre(CloseReason(CloseReason::kCertificateExpired)));
}

TEST(AccessLogLine, HasItsPriorityForTheJournal) {
  EXPECT_EQ(format_line(served(), LogFormat::kJson, true).substr(0, 4), "<6>{");
  EXPECT_EQ(format_line(refused(), LogFormat::kText, true).substr(0, 5), "<5>ti");
  ConnectionFacts probe = refused();
  probe.reason = CloseReason::kClosedBeforeHello;
  EXPECT_EQ(format_line(probe, LogFormat::kJson, true).substr(0, 4), "<7>{");
}

TEST(AccessLog, WritesToASocketAsJournaldGivesOne) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  {
    AccessLog log({.descriptor = ends[1], .flush_timeout = kPatience, .on_dropped = {}});
    log.write(served());
  }
  ::close(ends[1]);
  std::array<char, 4096> text{};
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  ASSERT_GT(got, 0);
  EXPECT_TRUE(ordered_json::accept(std::string(text.data(), static_cast<std::size_t>(got))));
}

TEST(AccessLog, WritesToAFile) {
  std::string path = testing::TempDir() + "access_log_XXXXXX";
  const int file = ::mkostemp(path.data(), O_CLOEXEC);
  ASSERT_GE(file, 0);
  {
    AccessLog log({.descriptor = file,
                   .format = LogFormat::kText,
                   .flush_timeout = kPatience,
                   .on_dropped = {}});
    log.write(served());
  }
  std::array<char, 4096> text{};
  const ssize_t got = ::pread(file, text.data(), text.size(), 0);
  ::close(file);
  ::unlink(path.c_str());
  ASSERT_GT(got, 0);
  EXPECT_THAT(std::string(text.data(), static_cast<std::size_t>(got)), HasSubstr("reason=done\n"));
}

}  // namespace
}  // namespace sallyport::gateway
