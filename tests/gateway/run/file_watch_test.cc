#include "gateway/run/file_watch.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "gateway/run/control_loop.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using iouring::Task;

class FileWatchTest : public ::testing::Test {
 protected:
  FileWatchTest() : loop_(ControlLoop::create()) {}

  // Waits for a change, once.
  Task<void> wait() {
    iouring::Result<> changed = co_await files_.changed();
    errno_ = changed ? 0 : changed.error().value;
  }

  test::TempDir directory_;
  std::unique_ptr<ControlLoop> loop_;
  FileWatch files_{*loop_->ring, *loop_->watch};
  std::optional<int> errno_;
};

TEST_F(FileWatchTest, SaysThatAFileWasWritten) {
  files_.add({directory_.path()});
  directory_.write("targets.json", "[]");
  loop_->tasks->spawn(wait());
  loop_->run();
  EXPECT_EQ(errno_, 0);
}

TEST_F(FileWatchTest, ReportsWritesInQuickSuccessionAsOneChange) {
  files_.add({directory_.path()});
  for (int i = 0; i < 20; ++i) directory_.write("targets.json", std::to_string(i));
  loop_->tasks->spawn(wait());
  loop_->run();
  EXPECT_EQ(errno_, 0);
  EXPECT_EQ(loop_->watch->pending(), 0u);
}

TEST_F(FileWatchTest, WatchesADirectoryAgainThatWasReplaced) {
  const auto inner = directory_.path() / "inner";
  std::filesystem::create_directory(inner);
  files_.add({inner});
  std::filesystem::remove(inner);
  std::filesystem::create_directory(inner);
  loop_->tasks->spawn(wait());
  loop_->run();
  files_.add({inner});

  directory_.write("inner/targets.json", "[]");
  errno_.reset();
  loop_->tasks->spawn(wait());
  loop_->run();
  EXPECT_EQ(errno_, 0);
}

TEST_F(FileWatchTest, GoesOnWithoutADirectoryThatIsNotThere) {
  files_.add({directory_.path() / "missing", directory_.path()});
  directory_.write("targets.json", "[]");
  loop_->tasks->spawn(wait());
  loop_->run();
  EXPECT_EQ(errno_, 0);
}

TEST_F(FileWatchTest, EndsWhenItIsCancelled) {
  files_.add({directory_.path()});
  loop_->tasks->spawn(wait());
  loop_->tasks->cancel_all();
  loop_->run();
  EXPECT_EQ(errno_, ECANCELED);
}

}  // namespace
}  // namespace sallyport::gateway
