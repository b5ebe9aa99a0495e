// What must not work, tried in processes that gave it up.
#include "gateway/run/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "gateway/run/process.h"
#include "gateway/run/state_dir.h"
#include "iouring/sanitizers.h"
#include "tests/support/temp_dir.h"

namespace sallyport::gateway {
namespace {

namespace fs = std::filesystem;
using iouring::FileDescriptor;

// 0: the kernel has none.
int landlock_version() {
  constexpr unsigned kAskForIt = 1;
  const long version = ::syscall(__NR_landlock_create_ruleset, nullptr, 0, kAskForIt);
  return version < 0 ? 0 : static_cast<int>(version);
}

class ConfinementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (landlock_version() == 0) GTEST_SKIP() << "this kernel has no Landlock";
    fs::create_directory(inside_);
    fs::create_directory(outside_);
    directory_.write("inside/file", "in");
    directory_.write("outside/file", "out");
  }

  // What errno says of the attempt in a process that is confined, 0 if it succeeds; -1: the process
  // could not be confined. `meanwhile` happens here, once it is.
  int attempt(const std::function<bool()>& act, const std::function<void()>& meanwhile = [] {}) {
    std::array<int, 2> confined{};
    std::array<int, 2> go{};
    EXPECT_EQ(::pipe(confined.data()), 0);
    EXPECT_EQ(::pipe(go.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      forbid_new_privileges();
      const auto entered = confinement_.enter();
      char byte = entered && *entered > 0 ? 1 : 0;
      if (::write(confined[1], &byte, 1) != 1 || ::read(go[0], &byte, 1) != 1) ::_exit(254);
      errno = 0;
      const bool succeeded = act();
      ::_exit(succeeded ? 0 : errno != 0 ? errno : 253);
    }
    char byte = 0;
    EXPECT_EQ(::read(confined[0], &byte, 1), 1);
    meanwhile();
    EXPECT_EQ(::write(go[1], "", 1), 1);
    for (const int fd : {confined[0], confined[1], go[0], go[1]}) ::close(fd);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return byte == 1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  int attempt_to_open(
      const fs::path& path, int flags = O_RDONLY, const std::function<void()>& meanwhile = [] {}) {
    return attempt([&] { return bool(FileDescriptor(::open(path.c_str(), flags, 0600))); },
                   meanwhile);
  }

  test::TempDir directory_;
  const fs::path inside_ = directory_ / "inside";
  const fs::path outside_ = directory_ / "outside";
  Options options_;
  Confinement confinement_{options_};
};

TEST_F(ConfinementTest, OpensADirectoryThatItWasToldOf) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt_to_open(inside_ / "file"), 0);
  EXPECT_EQ(attempt_to_open(inside_, O_RDONLY | O_DIRECTORY), 0);
}

TEST_F(ConfinementTest, OpensNothingElse) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt_to_open(outside_ / "file"), EACCES);
  EXPECT_EQ(attempt_to_open(outside_, O_RDONLY | O_DIRECTORY), EACCES);
  EXPECT_EQ(attempt_to_open(inside_ / "../outside/file"), EACCES);
  EXPECT_EQ(attempt_to_open("/", O_RDONLY | O_DIRECTORY), EACCES);
}

TEST_F(ConfinementTest, ReadsAFileThatWasReplacedInItsDirectory) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt_to_open(inside_ / "file", O_RDONLY,
                            [this] { directory_.replace("inside/file", "new"); }),
            0);
}

TEST_F(ConfinementTest, ReadsAFileThatIsMadeLater) {
  confinement_.allow_reading(inside_ / "later/and/deeper");
  EXPECT_EQ(attempt_to_open(inside_ / "later/and/deeper", O_RDONLY,
                            [this] {
                              fs::create_directories(inside_ / "later/and");
                              directory_.write("inside/later/and/deeper", "");
                            }),
            0);
}

TEST_F(ConfinementTest, WritesNothingThatItReads) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt_to_open(inside_ / "file", O_WRONLY), EACCES);
  EXPECT_EQ(attempt_to_open(inside_ / "new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(attempt([this] { return ::unlink((inside_ / "file").c_str()) == 0; }), EACCES);
  EXPECT_EQ(attempt([this] { return ::mkdir((inside_ / "new").c_str(), 0700) == 0; }), EACCES);
  EXPECT_EQ(attempt([this] {
              return ::rename((inside_ / "file").c_str(), (inside_ / "other").c_str()) == 0;
            }),
            EACCES);
  if (landlock_version() < 3) return;  // which do not see truncate(2)
  EXPECT_EQ(attempt([this] { return ::truncate((inside_ / "file").c_str(), 0) == 0; }), EACCES);
}

TEST_F(ConfinementTest, ExecutesNoProgram) {
  if (iouring::kSanitized) GTEST_SKIP() << "sanitizers execute a program for their reports";
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const auto execute = [&] { return ::execl(program.c_str(), "", nullptr) == 0; };
  EXPECT_EQ(attempt(execute), EACCES);
  confinement_.allow_reading(program);
  EXPECT_EQ(attempt(execute), EACCES) << "although it may be read";
}

TEST_F(ConfinementTest, IsOfThreadsThatAreStartedLater) {
  EXPECT_EQ(attempt([this] {
              int error = 0;
              std::thread([&] {
                if (!FileDescriptor(::open((outside_ / "file").c_str(), O_RDONLY))) error = errno;
              }).join();
              errno = error;
              return error == 0;
            }),
            EACCES);
}

TEST_F(ConfinementTest, IsNotEnteredBesideAThreadThatWouldStayOutside) {
  if (iouring::kSanitized) GTEST_SKIP() << "sanitizers may have threads of their own";
  std::atomic<bool> over = false;
  std::thread other([&over] { over.wait(false); });
  const auto entered = confinement_.enter();
  over = true;
  over.notify_one();
  other.join();
  ASSERT_FALSE(entered);
  EXPECT_EQ(entered.error(), "another thread runs already and would stay outside");
}

// ---- links

TEST_F(ConfinementTest, FollowsALinkThatLeadsOut) {
  fs::create_symlink(outside_ / "file", inside_ / "link");
  confinement_.allow_reading(inside_ / "link");
  EXPECT_EQ(attempt_to_open(inside_ / "link"), 0);
  EXPECT_EQ(attempt_to_open(inside_ / "link", O_RDONLY,
                            [this] { directory_.replace("inside/link", "a file now"); }),
            0);
}

TEST_F(ConfinementTest, RefusesALinkThatIsTurnedToAPlaceOutside) {
  fs::create_directory(directory_ / "third");
  directory_.write("third/file", "");
  fs::create_symlink(outside_ / "file", inside_ / "link");
  confinement_.allow_reading(inside_ / "link");
  EXPECT_EQ(attempt(
                [this] {
                  if (confinement_.covers(inside_ / "link")) return true;
                  return bool(FileDescriptor(::open((inside_ / "link").c_str(), O_RDONLY)));
                },
                [this] {
                  fs::remove(inside_ / "link");
                  fs::create_symlink(directory_ / "third/file", inside_ / "link");
                }),
            EACCES);
}

// As an installation is put in force by `current`, and a volume of Kubernetes by `..data`.
TEST_F(ConfinementTest, FollowsALinkThatIsTurnedWithinItsDirectory) {
  fs::create_directories(inside_ / "v1/tls");
  directory_.write("inside/v1/tls/file", "1");
  fs::create_directory_symlink("v1", inside_ / "current");
  fs::create_directory_symlink(inside_ / "current/tls", outside_ / "tls");
  confinement_.allow_reading(outside_ / "tls/file");
  EXPECT_EQ(attempt_to_open(outside_ / "file"), EACCES);
  EXPECT_EQ(attempt(
                [this] {
                  return confinement_.covers(outside_ / "tls/file") &&
                         FileDescriptor(::open((outside_ / "tls/file").c_str(), O_RDONLY));
                },
                [this] {
                  fs::create_directories(inside_ / "v2/tls");
                  directory_.write("inside/v2/tls/file", "2");
                  fs::create_directory_symlink("v2", inside_ / "next");
                  fs::rename(inside_ / "next", inside_ / "current");
                }),
            0);
}

TEST_F(ConfinementTest, ReadsABundleAndWhatLinksInItLeadTo) {
  fs::create_symlink(outside_ / "file", inside_ / "ca.pem");
  confinement_.allow_reading(inside_);
  EXPECT_EQ(attempt_to_open(inside_ / "ca.pem"), 0);
  EXPECT_EQ(attempt_to_open(directory_.write("beside", "")), EACCES);
}

TEST_F(ConfinementTest, TakesNoLinkInACircleForADirectory) {
  fs::create_symlink("two", inside_ / "one");
  fs::create_symlink("one", inside_ / "two");
  confinement_.allow_reading(inside_ / "one");
  EXPECT_EQ(attempt_to_open(inside_ / "one"), ELOOP);
}

// ---- covers()

TEST_F(ConfinementTest, CoversEverythingUntilItIsEntered) {
  EXPECT_TRUE(confinement_.covers(outside_ / "file"));
}

TEST_F(ConfinementTest, KnowsWhatItCovers) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt([this] {
              return confinement_.covers(inside_ / "file") &&
                     confinement_.covers(inside_ / "not/there") &&
                     !confinement_.covers(outside_ / "file") &&
                     !confinement_.covers(directory_ / "file") && !confinement_.covers("/");
            }),
            0);
}

// A directory that takes the place of another one is not that one.
TEST_F(ConfinementTest, DoesNotCoverADirectoryThatWasReplaced) {
  confinement_.allow_reading(inside_ / "file");
  EXPECT_EQ(attempt(
                [this] {
                  if (confinement_.covers(inside_ / "file")) return true;
                  return bool(FileDescriptor(::open((inside_ / "file").c_str(), O_RDONLY)));
                },
                [this] {
                  fs::rename(inside_, directory_ / "before");
                  fs::create_directory(inside_);
                  directory_.write("inside/file", "");
                }),
            EACCES);
}

// ---- what stays

TEST_F(ConfinementTest, LeavesLibrariesTheirFiles) {
  EXPECT_EQ(attempt([] { return ::getpwuid(0) != nullptr; }), 0);
  EXPECT_EQ(attempt_to_open("/proc/self/stat"), 0);
  EXPECT_EQ(attempt_to_open("/proc/self/fd", O_RDONLY | O_DIRECTORY), 0);
  EXPECT_EQ(attempt_to_open("/proc/stat"), 0);
  EXPECT_EQ(attempt_to_open("/etc/hosts"), 0);
  EXPECT_EQ(attempt_to_open("/dev/urandom"), 0);
}

TEST_F(ConfinementTest, KeepsStateInItsDirectory) {
  fs::create_directory(directory_ / "state");
  fs::permissions(directory_ / "state", fs::perms::owner_all);
  options_.state_dir = directory_ / "state";
  confinement_ = Confinement(options_);
  EXPECT_EQ(attempt([this] {
              const auto state = StateDir::open(options_.state_dir);
              return state && state->replace("discovery", "1") && state->replace("discovery", "2");
            }),
            0);
  EXPECT_EQ(attempt([this] {
              return ::rename((directory_ / "state/discovery").c_str(),
                              (outside_ / "discovery").c_str()) == 0;
            }),
            landlock_version() < 2 ? EXDEV : EACCES);
}

bool bind_unix(const fs::path& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

TEST_F(ConfinementTest, MakesSocketsWhereItsFlagsSay) {
  options_.admin = {*parse_admin_address("unix:" + (inside_ / "admin").string())};
  confinement_ = Confinement(options_);
  EXPECT_EQ(attempt([this] {
              return bind_unix(inside_ / "admin") && ::unlink((inside_ / "admin").c_str()) == 0;
            }),
            0);
  EXPECT_EQ(attempt([this] { return bind_unix(outside_ / "admin"); }), EACCES);
}

TEST_F(ConfinementTest, RefusesASocketInTheRootDirectory) {
  options_.admin = {*parse_admin_address("unix:/admin")};
  const auto entered = Confinement(options_).enter();
  ASSERT_FALSE(entered);
  EXPECT_EQ(entered.error(), "nothing can be written to the root directory");
}

// ---- beside files

bool bind_port(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM, 0));
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

TEST_F(ConfinementTest, BindsNoPortButThoseOfItsFlags) {
  if (landlock_version() < 4) GTEST_SKIP() << "this kernel's Landlock knows no ports";
  options_.listen = {*parse_listen_address("127.0.0.1:1")};
  confinement_ = Confinement(options_);
  EXPECT_EQ(attempt([] { return bind_port(0); }), EACCES);
  EXPECT_EQ(attempt([] { return bind_port(1); }), ::geteuid() == 0 ? 0 : EACCES);
}

TEST_F(ConfinementTest, ReachesNoOtherProcess) {
  if (landlock_version() < 6) GTEST_SKIP() << "this kernel's Landlock knows no scopes";
  EXPECT_EQ(attempt([] { return ::kill(::getppid(), 0) == 0; }), EPERM);
  const FileDescriptor listening(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string name = directory_.path().string();  // abstract: behind a NUL
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listening.get(), plain, size), 0);
  ASSERT_EQ(::listen(listening.get(), 1), 0);
  EXPECT_EQ(attempt([&] {
              const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
              return ::connect(socket.get(), plain, size) == 0;
            }),
            EPERM);
}

}  // namespace
}  // namespace sallyport::gateway
