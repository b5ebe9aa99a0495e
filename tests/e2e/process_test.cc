// The process among others: its signals, its standard descriptors, the readers of its logs.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <system_error>

#include "tests/e2e/scenario.h"
#include "tests/support/proc.h"

namespace sallyport::test {
namespace {

class TheProcess : public Scenario {
 protected:
  std::vector<std::string> in_shell(const std::string& script,
                                    std::vector<std::string> given = {}) {
    std::vector<std::string> argv{"sh", "-c", script, "sh", sallyport_program()};
    const std::vector<std::string> all = flags(std::move(given));
    argv.insert(argv.end(), all.begin(), all.end());
    return argv;
  }
  Backend backend_{echo()};
};

TEST_F(TheProcess, IgnoresTheSignalsOfOtherDaemons) {
  start_for(backend_);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGPIPE}) gateway->signal(signal);
  EXPECT_TRUE(served());
}

// Else a shard on the CPU that a reload takes waits for the end of it.
TEST_F(TheProcess, ReloadsWithLessWeightThanShardsHave) {
  start_for(backend_);
  const std::string pid = std::to_string(gateway->process().pid());
  const int shards = nice_of_thread(pid, "shard-");
  EXPECT_TRUE(eventually(
      [&] { return ::getpriority(PRIO_PROCESS, std::stoul(pid)) == std::min(shards + 5, 19); }));
  EXPECT_EQ(nice_of_thread(pid, "shard-"), shards);
}

TEST_F(TheProcess, TakesASecondSignalWithinASecondForTheFirst) {
  start_for(backend_, {"--drain-delay", "1h"});
  gateway->signal(SIGTERM);
  gateway->wait_err({"draining"});
  gateway->signal(SIGINT);
  gateway->wait_err({"signal within a second of the first"});
  EXPECT_TRUE(served()) << "the delay goes on";

  wait_until("a later signal ends it", [this] {
    if (gateway->process().running()) gateway->signal(SIGTERM);
    return !gateway->process().running();
  });
  EXPECT_EQ(gateway->ended(0), "");
  EXPECT_NE(gateway->process().err().find("ending at once"), std::string::npos);
  gateway.reset();
}

TEST_F(TheProcess, ReloadsOnceForAllThatArePending) {
  start_for(backend_);
  const double before = reloads("success", "policy");
  gateway->signal(SIGSTOP);
  for (int i = 0; i < 5; ++i) gateway->signal(SIGHUP);
  gateway->signal(SIGCONT);
  wait_reload("success", before, "discovery");
  EXPECT_TRUE(served());
  EXPECT_EQ(reloads("success", "policy"), before + 1);
}

// What reads stderr stood still, and with it a process that had been told twice to end.
TEST_F(TheProcess, EndsAlthoughTheReaderOfItsLogStalls) {
  discover({backend_.address()});
  const std::string path = dir / "stderr";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Fd reader(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  Process process(in_shell("exec \"$@\" 2>" + path, {"--drain-delay", "1h"}));
  std::string log;
  wait_until("it listens", [&] {
    char part[4096];
    const ssize_t size = ::read(reader.get(), part, sizeof part);
    if (size > 0) log.append(part, static_cast<std::size_t>(size));
    return log.find("\"admin listening\"") != std::string::npos &&
           log.find("\"listening\"") != std::string::npos;
  });
  const std::string noise(4096, '\n');
  while (::write(reader.get(), noise.data(), noise.size()) > 0) continue;

  wait_until("signals end it", [&] {
    if (process.running()) process.signal(SIGTERM);
    return !process.running();
  });
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(TheProcess, OpensStandardDescriptorsThatAreClosed) {
  discover({backend_.address()});
  gateway = std::make_unique<Gateway>(Gateway::Command{in_shell("exec \"$@\" <&- >&-")});
  EXPECT_TRUE(served());
  EXPECT_TRUE(served()) << "no line of the first one went into a socket";
  for (const char* descriptor : {"0", "1"}) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(
        "/proc/" + std::to_string(gateway->process().pid()) + "/fd/" + descriptor, error);
    if (error == std::errc::permission_denied) GTEST_SKIP() << "needs root, to look at descriptors";
    EXPECT_EQ(target, "/dev/null") << descriptor << error.message();
  }
}

TEST_F(TheProcess, CountsProbesThatItDoesNotLog) {
  start_for(backend_, {"--log-probes", "off", "--max-connections", "77"});
  {
    const Fd probe = connect_to(gateway->address());
  }
  gateway->wait_metric("connections_closed_total", {{"reason", "closed_before_hello"}}, 1);
  EXPECT_TRUE(served());
  EXPECT_EQ(gateway->wait_logs(1).at(0).at("reason"), "done");
  const Metrics metrics = gateway->metrics();
  EXPECT_EQ(metrics.sum("max_connections"), 77);
  for (const char* cause : {"slow_reader", "broken_pipe", "disk_full", "other"}) {
    EXPECT_TRUE(metrics.has("log_lines_dropped_total", {{"cause", cause}})) << cause;
  }
  EXPECT_EQ(metrics.sum("log_lines_dropped_total"), 0);
}

TEST_F(TheProcess, WritesAndCountsTheConnectionsThatItIsAskedFor) {
  start_for(backend_, {"--log-connections", "refused"});
  EXPECT_TRUE(served());
  expect_refused(as(root.issue({.cn = "other", .spiffe = {"spiffe://other.org/x"}})),
                 "not_authorized", kAccessDenied);
  gateway->wait_metric("log_lines_left_out_total", {{"cause", "log-connections"}}, 1);
  EXPECT_EQ(gateway->wait_logs(1).at(0).at("reason"), "not_authorized");
  const Metrics metrics = gateway->metrics();
  for (const char* cause : {"log-probes", "log-sample", "repeated"})
    EXPECT_TRUE(metrics.has("log_lines_left_out_total", {{"cause", cause}})) << cause;
}

// An audit trail: what began, and what each reload changed.
TEST_F(TheProcess, SaysWhatStartedAndWhatReloadsChanged) {
  start_for(backend_);
  const std::string started = gateway->wait_err({"\"message\":\"started\""});
  for (const char* key : {"\"version\":\"", "\"commit\":\"", "\"shards\":", "\"routes\":1",
                          "\"endpoints\":1", "\"soonest_expiry\":\"20", "gateway.pem\"",
                          "\"records\":\"", "\"openssl\":\"3.", "\"kernel\":\""})
    EXPECT_NE(started.find(key), std::string::npos) << key << " in " << started;

  const Backend other(echo());
  discover({other.address()});
  gateway->wait_err({"\"reloaded\",\"source\":\"discovery\"",
                     "route orders: - " + backend_.address() + "\"",
                     "route orders: + " + other.address() + " weight 100, ready\""});
  dir.write_secret("gateway.key", client.key_pem);
  gateway->wait_err({"reload refused", "\"source\":\"credentials\""});
  gateway->signal(SIGTERM);
  gateway->wait_err({"\"draining\",\"signal\":\"SIGTERM\""});
}

// As the journal wants it; its streams are sockets, and a pipe does as well.
TEST_F(TheProcess, PutsPrioritiesInFrontOfLinesForTheJournal) {
  const std::string stream = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)";
  Process journal(in_shell("export " + stream + "; exec \"$@\"", {"--discovery", "/nowhere"}));
  EXPECT_EQ(journal.wait(), 2);
  EXPECT_NE(journal.err().find("<3>{\"time\":"), std::string::npos) << journal.err();
  Process elsewhere(
      in_shell("export JOURNAL_STREAM=0:0; exec \"$@\"", {"--discovery", "/nowhere"}));
  EXPECT_EQ(elsewhere.wait(), 2);
  EXPECT_EQ(elsewhere.err().find("<3>"), std::string::npos) << elsewhere.err();
}

TEST_F(TheProcess, CountsLinesThatAFullDiskDoesNotTake) {
  discover({backend_.address()});
  gateway = std::make_unique<Gateway>(Gateway::Command{in_shell("exec \"$@\" >/dev/full")});
  EXPECT_TRUE(served());
  gateway->wait_metric("log_lines_dropped_total", {{"cause", "disk_full"}}, 1);
  gateway->wait_err({"connection lines dropped", "disk_full"});
}

}  // namespace
}  // namespace sallyport::test
