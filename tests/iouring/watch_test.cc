#include "iouring/watch.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "iouring/both.h"
#include "tests/iouring/cancel_soon.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

namespace fs = std::filesystem;

class WatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sallyport-watch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    top_ = pattern;
    directory_ = top_ / "watched";
    fs::create_directory(directory_);
    Result<Watch> watch = Watch::create(*ring_);
    ASSERT_TRUE(watch);
    watch_ = std::make_unique<Watch>(std::move(*watch));
    const Result<int> added = watch_->add_blocking(directory_);
    ASSERT_TRUE(added);
    id_ = *added;
  }
  void TearDown() override { fs::remove_all(top_); }

  static Task<void> next_into(Watch& watch, Result<WatchEvent>& event) {
    event = co_await watch.next();
  }
  WatchEvent next() {
    Result<WatchEvent> event;
    ring_->run(next_into(*watch_, event));
    EXPECT_TRUE(event);
    return event.value_or(WatchEvent{});
  }
  void write(const fs::path& file) { std::ofstream(file) << "text"; }

  std::unique_ptr<Ring> ring_ = make_ring();
  std::unique_ptr<Watch> watch_;
  fs::path top_;
  fs::path directory_;
  int id_ = -1;
};

TEST_F(WatchTest, ReportsAWriteInPlace) {
  write(directory_ / "file");
  EXPECT_EQ(next().mask, static_cast<std::uint32_t>(IN_CREATE));
  EXPECT_GT(watch_->pending(), 0U) << "events are read in batches";
  const WatchEvent written = next();
  EXPECT_EQ(written.kind, WatchEvent::Kind::kChanged);
  EXPECT_EQ(written.name, "file");
  EXPECT_EQ(written.watch, id_);
  EXPECT_EQ(written.mask, static_cast<std::uint32_t>(IN_CLOSE_WRITE));
}

TEST_F(WatchTest, ReportsARenameOverAFile) {
  write(top_ / "new");
  fs::rename(top_ / "new", directory_ / "file");
  const WatchEvent moved = next();
  EXPECT_EQ(moved.name, "file");
  EXPECT_NE(moved.mask & IN_MOVED_TO, 0U);
}

TEST_F(WatchTest, ReportsASymlinkSwap) {
  fs::create_symlink("a", directory_ / "..data");
  EXPECT_EQ(next().name, "..data");
  fs::create_symlink("b", top_ / "tmp");
  fs::rename(top_ / "tmp", directory_ / "..data");
  EXPECT_NE(next().mask & IN_MOVED_TO, 0U);
}

TEST_F(WatchTest, ReportsADeletedDirectoryAsLostOnce) {
  fs::remove(directory_);
  const WatchEvent lost = next();
  EXPECT_EQ(lost.kind, WatchEvent::Kind::kLost);
  EXPECT_EQ(lost.watch, id_);
  EXPECT_EQ(watch_->pending(), 0U);
  // A new directory of the same name can be watched again.
  fs::create_directory(directory_);
  EXPECT_TRUE(watch_->add_blocking(directory_));
  write(directory_ / "file");
  EXPECT_EQ(next().kind, WatchEvent::Kind::kChanged);
}

TEST_F(WatchTest, ReportsADirectoryThatMovedAwayAsLost) {
  fs::rename(directory_, top_ / "elsewhere");
  const WatchEvent lost = next();
  EXPECT_EQ(lost.kind, WatchEvent::Kind::kLost);
  EXPECT_EQ(lost.watch, id_);
}

TEST_F(WatchTest, RefusesAPathThatIsNoDirectory) {
  write(top_ / "file");
  const Result<int> file = watch_->add_blocking(top_ / "file");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().value, ENOTDIR);
  const Result<int> missing = watch_->add_blocking(top_ / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().value, ENOENT);
}

Task<void> scoped_next(Watch& watch, CancelScope& scope, Result<WatchEvent>& event) {
  event = co_await in_scope(scope, watch.next());
}

Task<void> cancel_next(Ring& ring, Watch& watch, Result<WatchEvent>& event) {
  CancelScope scope;
  co_await both(scoped_next(watch, scope, event), cancel_soon(ring, scope));
}

TEST_F(WatchTest, EndsTheWaitWhenCancelled) {
  Result<WatchEvent> event;
  ring_->run(cancel_next(*ring_, *watch_, event));
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().value, ECANCELED);
}

}  // namespace
}  // namespace sallyport::iouring
