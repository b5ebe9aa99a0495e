#include "gateway/observe/socket_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <csignal>
#include <cstdio>  // renameat2
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "iouring/file_descriptor.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

using testing::HasSubstr;

constexpr uid_t kSomebody = 54'321;
constexpr uid_t kSomebodyElse = 54'322;

class SocketFileTest : public testing::Test {
 protected:
  static iouring::FileDescriptor unix_socket() {
    return iouring::FileDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  [[nodiscard]] std::string path() const { return dir_ / "service.sock"; }
  [[nodiscard]] iouring::SocketAddress address() const {
    return *iouring::SocketAddress::parse("unix:" + path());
  }
  [[nodiscard]] std::expected<SocketFile, std::string> listen(
      const SocketFile::Access& access = {}) const {
    return SocketFile::listen(socket_.get(), address(), access);
  }
  // One that was left behind.
  void leave_socket() const {
    const iouring::FileDescriptor dead = unix_socket();
    ASSERT_EQ(::bind(dead.get(), address().data(), address().size()), 0);
  }
  [[nodiscard]] struct stat file() const {
    struct stat found{};
    if (::lstat(path().c_str(), &found) != 0) return {};
    return found;
  }
  [[nodiscard]] bool exists() const { return file().st_ino != 0; }

  test::TempDir dir_;
  iouring::FileDescriptor socket_ = unix_socket();
};

TEST_F(SocketFileTest, ListensWithTheModeAskedFor) {
  const auto made = listen({.mode = 0666});
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(file().st_mode & 07777U, 0666U);
  const iouring::FileDescriptor client = unix_socket();
  EXPECT_EQ(::connect(client.get(), address().data(), address().size()), 0);
}

TEST_F(SocketFileTest, BelongsToTheOwnerAndTheGroupAskedFor) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  const auto made = listen({.mode = 0660, .owner = kSomebody, .group = kSomebodyElse});
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(file().st_uid, kSomebody);
  EXPECT_EQ(file().st_gid, kSomebodyElse);
  EXPECT_EQ(file().st_mode & 07777U, 0660U);
}

TEST_F(SocketFileTest, KeepsOurGroupWhereOnlyAnOwnerIsAskedFor) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  const auto made = listen({.owner = kSomebody});
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(file().st_uid, kSomebody);
  EXPECT_EQ(file().st_gid, ::getegid());
}

TEST_F(SocketFileTest, ReplacesADeadSocketOfOursOrOfItsOwnerAndOfNobodyElse) {
  leave_socket();
  EXPECT_TRUE(listen()) << "ours";
  EXPECT_FALSE(exists());
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  for (const uid_t asked : {kSomebody, kSomebodyElse}) {
    socket_ = unix_socket();
    leave_socket();
    ASSERT_EQ(::lchown(path().c_str(), kSomebody, static_cast<gid_t>(-1)), 0);
    const auto made = listen({.owner = asked});
    EXPECT_EQ(made.has_value(), asked == kSomebody);
    if (!made) EXPECT_THAT(made.error(), HasSubstr("a socket of another user"));
  }
  EXPECT_EQ(file().st_uid, kSomebody) << "is left alone";
}

TEST_F(SocketFileTest, LeavesASocketThatIsListenedOn) {
  const iouring::FileDescriptor live = unix_socket();
  ASSERT_EQ(::bind(live.get(), address().data(), address().size()), 0);
  ASSERT_EQ(::listen(live.get(), 1), 0);
  const ino_t before = file().st_ino;
  const auto made = listen();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error(), HasSubstr("Address already in use"));
  EXPECT_EQ(file().st_ino, before);
}

// Whatever it is called by: two of this process, or a second one that starts at the same time.
TEST_F(SocketFileTest, LeavesOneThatWasMadeAMomentAgo) {
  const auto first = listen();
  ASSERT_TRUE(first) << first.error();
  const ino_t before = file().st_ino;
  const iouring::FileDescriptor other = unix_socket();
  const auto same = *iouring::SocketAddress::parse("unix:" + (dir_ / "./service.sock").string());
  const auto second = SocketFile::listen(other.get(), same, {});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr("Address already in use"));
  EXPECT_EQ(file().st_ino, before);
}

TEST_F(SocketFileTest, TakesThePlaceOfOneThatIsListenedOnInOneStep) {
  const auto connected = [this] {
    iouring::FileDescriptor client = unix_socket();
    EXPECT_EQ(::connect(client.get(), address().data(), address().size()), 0);
    return client;
  };
  const auto accepts = [](const iouring::FileDescriptor& socket) {
    return iouring::FileDescriptor(::accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK))
               .get() >= 0;
  };
  auto first = listen();
  ASSERT_TRUE(first) << first.error();
  const iouring::FileDescriptor other(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  auto second =
      SocketFile::listen(other.get(), address(), {.mode = 0666}, SocketFile::InUse::kTakeOver);
  ASSERT_TRUE(second) << second.error();
  ASSERT_EQ(::fcntl(socket_.get(), F_SETFL, O_NONBLOCK), 0);
  while (accepts(socket_)) continue;  // it was asked whether somebody listens

  const iouring::FileDescriptor before = connected();
  EXPECT_TRUE(accepts(socket_)) << "the first one goes on";
  EXPECT_FALSE(accepts(other));
  EXPECT_EQ(file().st_mode & 07777U, 0600U);

  const auto taken = second->take_place();
  ASSERT_TRUE(taken) << taken.error();
  while (accepts(socket_)) continue;
  const iouring::FileDescriptor after = connected();
  EXPECT_TRUE(accepts(other));
  EXPECT_FALSE(accepts(socket_));
  EXPECT_EQ(file().st_mode & 07777U, 0666U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1)
      << "nothing else is left in the folder";

  first = std::unexpected("has ended");
  EXPECT_TRUE(exists()) << "it is the second one's";
  second = std::unexpected("has ended");
  EXPECT_FALSE(exists());
}

TEST_F(SocketFileTest, LeavesThePlaceWhereItEndsBeforeItTookIt) {
  const auto first = listen();
  ASSERT_TRUE(first) << first.error();
  const ino_t before = file().st_ino;
  for (int i = 0; i < 2; ++i) {
    const iouring::FileDescriptor other = unix_socket();
    const auto second =
        SocketFile::listen(other.get(), address(), {}, SocketFile::InUse::kTakeOver);
    ASSERT_TRUE(second) << second.error();
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 2);
  }
  EXPECT_EQ(file().st_ino, before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1);
}

TEST_F(SocketFileTest, TakesNoPlaceThatAnotherKindOfFileHasByThen) {
  auto first = listen();
  ASSERT_TRUE(first) << first.error();
  const iouring::FileDescriptor other = unix_socket();
  auto second = SocketFile::listen(other.get(), address(), {}, SocketFile::InUse::kTakeOver);
  ASSERT_TRUE(second) << second.error();
  first = std::unexpected("has ended");
  dir_.write("service.sock", "precious");
  const auto taken = second->take_place();
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error(), HasSubstr("no socket"));
  EXPECT_EQ(file().st_mode & S_IFMT, static_cast<mode_t>(S_IFREG));
}

// Both find a dead one. Whoever removed it late removed the other's.
TEST_F(SocketFileTest, OfTwoThatStartAtOnceOneIsReached) {
  struct Starter {
    void start(const iouring::SocketAddress& at) {
      made.emplace(SocketFile::listen(socket.get(), at, {}));
    }
    iouring::FileDescriptor socket = unix_socket();
    std::optional<std::expected<SocketFile, std::string>> made;
  };
  for (int round = 0; round < 500; ++round) {
    leave_socket();
    std::array<Starter, 2> starters;
    std::barrier together(2);
    {
      std::vector<std::jthread> threads;
      for (Starter& starter : starters)
        threads.emplace_back([&] {
          together.arrive_and_wait();
          starter.start(address());
        });
    }
    ASSERT_NE(starters[0].made->has_value(), starters[1].made->has_value());
    const Starter& winner = *starters[0].made ? starters[0] : starters[1];
    const iouring::FileDescriptor client = unix_socket();
    ASSERT_EQ(::connect(client.get(), address().data(), address().size()), 0);
    const iouring::FileDescriptor accepted(
        ::accept4(winner.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    ASSERT_TRUE(accepted);
  }
}

TEST_F(SocketFileTest, LeavesNothingBesideItself) {
  dir_.write(".service.sock.sallyport-lock", "", 0600);  // of a process that was killed
  {
    const auto made = listen();
    ASSERT_TRUE(made) << made.error();
    EXPECT_FALSE(std::filesystem::exists(dir_ / ".service.sock.sallyport-lock"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

TEST_F(SocketFileTest, RefusesALockThatIsASymbolicLink) {
  std::filesystem::create_symlink(dir_ / "elsewhere", dir_ / ".service.sock.sallyport-lock");
  leave_socket();
  const auto made = listen();
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error(), HasSubstr("sallyport-lock: Too many levels of symbolic links"));
  EXPECT_TRUE(exists());
  EXPECT_FALSE(std::filesystem::exists(dir_ / "elsewhere"));
}

// One whose queue is full does not answer at once, and is alive all the same.
TEST_F(SocketFileTest, LeavesASocketWhoseQueueIsFull) {
  const iouring::FileDescriptor live = unix_socket();
  ASSERT_EQ(::bind(live.get(), address().data(), address().size()), 0);
  ASSERT_EQ(::listen(live.get(), 0), 0);
  const iouring::FileDescriptor filler = unix_socket();
  ASSERT_EQ(::connect(filler.get(), address().data(), address().size()), 0);
  EXPECT_FALSE(listen());
  EXPECT_TRUE(exists());
}

TEST_F(SocketFileTest, FollowsNoSymbolicLink) {
  const std::string elsewhere = dir_ / "elsewhere";
  for (const bool dangling : {true, false}) {
    if (!dangling) dir_.write("elsewhere", "precious");
    std::filesystem::create_symlink(elsewhere, path());
    const auto made = listen({.mode = 0666});
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error(), HasSubstr("no socket"));
    EXPECT_EQ(std::filesystem::exists(elsewhere), !dangling);
    EXPECT_TRUE(std::filesystem::remove(path())) << "is still there";
  }
}

TEST_F(SocketFileTest, SaysWhatIsWrongWithItsDirectory) {
  const auto at = *iouring::SocketAddress::parse("unix:" + (dir_ / "none/service.sock").string());
  const auto made = SocketFile::listen(socket_.get(), at, {});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error(), HasSubstr("No such file or directory"));
}

TEST_F(SocketFileTest, IsRemovedAtItsEndUnlessAnotherTookItsPlace) {
  {
    const auto made = listen();
    ASSERT_TRUE(made);
    EXPECT_TRUE(exists());
  }
  EXPECT_FALSE(exists());

  socket_ = unix_socket();
  ino_t other = 0;
  {
    const auto made = listen();
    ASSERT_TRUE(made);
    ASSERT_EQ(::rename(path().c_str(), (dir_ / "aside").c_str()), 0);  // its inode stays in use
    leave_socket();
    other = file().st_ino;
  }
  EXPECT_EQ(file().st_ino, other);
}

// A process that takes over replaces the file while the one before it drains. Filesystems such as
// ext4 give the new file the number of the old one, as soon as nobody has that.
TEST_F(SocketFileTest, LeavesTheFileOfAProcessThatTookOver) {
  auto before = std::make_optional(listen());
  ASSERT_TRUE(*before);
  const ino_t own = file().st_ino;
  socket_ = unix_socket();  // closed: what connects is refused
  const auto after = listen();
  ASSERT_TRUE(after) << after.error();
  EXPECT_NE(file().st_ino, own);
  before.reset();
  EXPECT_TRUE(exists());
}

// Whoever owns the directory can put anything in the file's place once bind(2) has made it.
TEST_F(SocketFileTest, ChangesNoFileThatASymbolicLinkInItsPlaceNames) {
  const std::string precious = dir_ / "precious";
  const std::string link = dir_ / "link";
  dir_.write("precious", "");
  ASSERT_EQ(::chmod(precious.c_str(), 0600), 0);
  const pid_t attacker = ::fork();
  ASSERT_GE(attacker, 0);
  if (attacker == 0)
    while (true) ::renameat2(AT_FDCWD, link.c_str(), AT_FDCWD, path().c_str(), RENAME_EXCHANGE);
  for (int round = 0; round < 3'000; ++round) {
    ::unlink(path().c_str());
    ::unlink(link.c_str());
    std::error_code taken;  // exchanged meanwhile: as good
    std::filesystem::create_symlink(precious, link, taken);
    socket_ = unix_socket();
    [[maybe_unused]] const auto made = listen({.mode = 0666});
  }
  ::kill(attacker, SIGKILL);
  ::waitpid(attacker, nullptr, 0);
  struct stat found{};
  EXPECT_EQ(::stat(precious.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0600U);
}

}  // namespace
}  // namespace sallyport::gateway
