#include "gateway/run/state_dir.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "gateway/run/state_keeper.h"
#include "iouring/file_descriptor.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class StateDirTest : public ::testing::Test {
 protected:
  StateDirTest() {
    fs::create_directory(path_);
    fs::permissions(path_, fs::perms::owner_all);
  }
  std::string error() const {
    const auto opened = StateDir::open(path_);
    return opened ? "no error" : opened.error();
  }
  StateDir opened() const {
    auto directory = StateDir::open(path_);
    EXPECT_TRUE(directory) << directory.error();
    return *std::move(directory);
  }
  static std::string failures(const metrics::Registry& registry, const std::string& result) {
    const std::string text = registry.scrape();
    const std::string series = "state_writes_total{result=\"" + result + "\"} ";
    const auto at = text.find(series);
    if (at == std::string::npos) return "none";
    return text.substr(at + series.size(), text.find('\n', at) - at - series.size());
  }

  test::TempDir dir_;
  const std::string path_ = dir_ / "state";
};

TEST_F(StateDirTest, IsRefusedUnlessItIsThereAndForItsOwnerAlone) {
  EXPECT_EQ(error(), "no error");
  for (const unsigned mode : {0755U, 0750U, 0701U, 0720U}) {
    fs::permissions(path_, fs::perms(mode));
    EXPECT_THAT(error(), HasSubstr("(chmod 700)")) << mode;
  }
  fs::remove(path_);
  EXPECT_THAT(error(), HasSubstr("--state-dir " + path_ + ": cannot be opened: No such file"));
  dir_.write("state", "a file");
  EXPECT_THAT(error(), HasSubstr("Not a directory"));
}

TEST_F(StateDirTest, IsRefusedWhereAnotherUserOwnsIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "root alone can give a directory away";
  ASSERT_EQ(::chown(path_.c_str(), 12'345, 12'345), 0);
  EXPECT_THAT(error(), HasSubstr("belongs to user 12345"));
}

TEST_F(StateDirTest, IsRefusedWhereEveryUserMayPutAnotherInItsPlace) {
  fs::permissions(dir_.path(), fs::perms(0777));
  EXPECT_THAT(error(), HasSubstr("every user may put another file in its place"));
}

TEST_F(StateDirTest, ReadsWhatWasWrittenLast) {
  const StateDir directory = opened();
  EXPECT_EQ(*directory.read("x.json"), std::nullopt);
  ASSERT_TRUE(directory.replace("x.json", "first"));
  ASSERT_TRUE(directory.replace("x.json", "second"));
  EXPECT_EQ(*directory.read("x.json"), "second");
  struct stat status{};
  ASSERT_EQ(::stat(directory.path_of("x.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(StateDirTest, ReadsNoFileThatOthersMayWrite) {
  const StateDir directory = opened();
  ASSERT_TRUE(directory.replace("x.json", "text"));
  fs::permissions(directory.path_of("x.json"), fs::perms(0666));
  const auto read = directory.read("x.json");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error(), HasSubstr("x.json"));
}

// A write that was killed: half of the next content beside the one that is whole.
TEST_F(StateDirTest, KeepsTheWholeContentBesideAHalfOne) {
  const StateDir directory = opened();
  ASSERT_TRUE(directory.replace("x.json", "whole"));
  dir_.write("state/x.json.next", "ha", 0600);
  EXPECT_EQ(*directory.read("x.json"), "whole");
  ASSERT_TRUE(directory.replace("x.json", "n"));
  EXPECT_EQ(*directory.read("x.json"), "n");
  EXPECT_FALSE(fs::exists(directory.path_of("x.json.next")));
}

// Whenever it is killed, the file is one of the contents as a whole.
TEST_F(StateDirTest, SurvivesAKillWhileItWrites) {
  const StateDir directory = opened();
  const auto content = [](int round) { return std::string(100'000, char('a' + round % 26)); };
  ASSERT_TRUE(directory.replace("x.json", content(0)));
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = ::fork();
    ASSERT_GE(writer, 0);
    if (writer == 0) {
      for (int i = 0;; ++i) {
        if (!directory.replace("x.json", content(i))) ::_exit(1);
      }
    }
    // No synchronisation: each round ends it somewhere else.
    ::usleep(static_cast<useconds_t>(1'000 + 700 * round));
    ::kill(writer, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(writer, &status, 0), writer);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto read = directory.read("x.json");
    ASSERT_TRUE(read && *read);
    EXPECT_EQ(**read, std::string(100'000, (**read)[0]));
  }
}

TEST_F(StateDirTest, FollowsNoLinkThatStandsInItsWay) {
  const StateDir directory = opened();
  dir_.write("victim", "untouched");
  fs::create_symlink(dir_ / "victim", directory.path_of("x.json.next"));
  EXPECT_FALSE(directory.replace("x.json", "text"));
  EXPECT_EQ(fs::file_size(dir_ / "victim"), 9u);
}

TEST_F(StateDirTest, WaitsForNoOtherProcessThatWrites) {
  const StateDir directory = opened();
  ASSERT_TRUE(directory.replace("x.json", "first"));
  const iouring::FileDescriptor other(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  const auto written = directory.replace("x.json", "second");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error(), HasSubstr("another process writes it"));
  EXPECT_EQ(*directory.read("x.json"), "first");
}

const metrics::Vocabulary kNoWords{};

TEST_F(StateDirTest, AKeeperWritesTheNewestTextAndWhatWaitsAtItsEnd) {
  metrics::Registry registry(kNoWords, {});
  {
    StateKeeper keeper(opened(), "x.json", registry, {.between = 1h, .retry = 1h});
    keeper.keep("first");
    test::wait_until("the first is written", [&] { return failures(registry, "success") == "1"; });
    for (int i = 0; i < 100; ++i) keeper.keep("text " + std::to_string(i));
  }
  EXPECT_EQ(*opened().read("x.json"), "text 99");
  EXPECT_EQ(failures(registry, "success"), "2") << "at most one in a while";
}

TEST_F(StateDirTest, AKeeperTriesAgainAfterAFailure) {
  metrics::Registry registry(kNoWords, {});
  fs::create_directories(path_ + "/x.json.next");  // no file can be made there
  StateKeeper keeper(opened(), "x.json", registry, {.between = 1ms, .retry = 1ms});
  keeper.keep("text");
  test::wait_until("it failed", [&] {
    return failures(registry, "failure") != "0" && failures(registry, "failure") != "none";
  });
  fs::remove(path_ + "/x.json.next");
  test::wait_until("it is written", [&] { return failures(registry, "success") == "1"; });
  EXPECT_EQ(*opened().read("x.json"), "text");
}

}  // namespace
}  // namespace sallyport::gateway
