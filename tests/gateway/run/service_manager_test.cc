#include "gateway/run/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gateway/run/service_status.h"
#include "tests/support/wait.h"

namespace sallyport::gateway {
namespace {

using namespace std::chrono_literals;

// What systemd listens on, and what it tells a service of it.
class ServiceManager : public ::testing::Test {
 protected:
  ServiceManager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    const std::string name = "sallyport-test-" + std::to_string(::getpid());
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  }
  ~ServiceManager() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
  static void want_watchdog(std::chrono::microseconds every) {
    ::setenv("WATCHDOG_USEC", std::to_string(every.count()).c_str(), 1);
  }
  // The oldest message that was not read yet; none: empty.
  std::string told() const {
    std::array<char, 4096> room{};
    const ssize_t size = ::recv(socket_.get(), room.data(), room.size(), 0);
    return size < 0 ? "" : std::string(room.data(), static_cast<std::size_t>(size));
  }
  void fill() const {
    for (const iouring::FileDescriptor sender = connected();
         ::send(sender.get(), "x", 1, MSG_DONTWAIT) == 1;)
      continue;
  }

 private:
  iouring::FileDescriptor connected() const {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    iouring::FileDescriptor sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(sender.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    return sender;
  }
  iouring::FileDescriptor socket_;
};

TEST_F(ServiceManager, IsToldOnlyWhatItWants) {
  EXPECT_TRUE(has_service_manager());
  EXPECT_EQ(Watchdog::create(2), nullptr) << "without WatchdogSec=";
  want_watchdog(30s);
  const auto watchdog = Watchdog::create(2);
  ASSERT_NE(watchdog, nullptr);
  EXPECT_EQ(watchdog->interval(), 10s);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(Watchdog::create(2), nullptr) << "it is for another process";
}

TEST_F(ServiceManager, HasItsWatchdogFedWhenEveryShardHasTurned) {
  want_watchdog(1h);
  const auto watchdog = Watchdog::create(3);
  ASSERT_NE(watchdog, nullptr);
  for (int round = 0; round < 3; ++round) {
    watchdog->turned(2);
    for (int i = 0; i < 100; ++i) watchdog->turned(0);
    EXPECT_EQ(told(), "") << "shard 1 has not turned";
    watchdog->turned(1);
    EXPECT_EQ(told(), "WATCHDOG=1");
    EXPECT_EQ(told(), "");
  }
}

TEST_F(ServiceManager, IsFedByShardsAtTheSameTime) {
  constexpr int kRounds = 10'000;
  want_watchdog(1h);
  const auto watchdog = Watchdog::create(4);
  ASSERT_NE(watchdog, nullptr);
  std::atomic<int> running = 3;
  std::vector<std::thread> shards;
  for (std::size_t shard = 0; shard < 3; ++shard) {
    shards.emplace_back([&, shard] {
      for (int i = 0; i < kRounds; ++i) watchdog->turned(shard);
      --running;
    });
  }
  int fed = 0;
  const auto read_all = [&] {
    for (std::string said; !(said = told()).empty(); ++fed) EXPECT_EQ(said, "WATCHDOG=1");
  };
  while (running > 0) {
    watchdog->turned(3);
    read_all();
  }
  for (std::thread& shard : shards) shard.join();
  read_all();
  EXPECT_GT(fed, 0);
  EXPECT_LE(fed, kRounds);
  // Nothing was lost on the way: one more turn of each is enough.
  for (std::size_t shard = 0; shard < 4; ++shard) watchdog->turned(shard);
  EXPECT_EQ(told(), "WATCHDOG=1");
}

TEST_F(ServiceManager, IsNotWaitedForByAShard) {
  want_watchdog(1h);
  const auto watchdog = Watchdog::create(1);
  ASSERT_NE(watchdog, nullptr);
  fill();
  watchdog->turned(0);  // comes back
  while (!told().empty()) continue;
  watchdog->turned(0);
  EXPECT_EQ(told(), "WATCHDOG=1");
}

TEST_F(ServiceManager, CanLearnWhichShardHangs) {
  want_watchdog(30ms);
  const auto watchdog = Watchdog::create(2);
  ASSERT_NE(watchdog, nullptr);
  watchdog->turned(0);
  test::wait_until("two intervals have passed", [&] { return watchdog->hanging().has_value(); });
  EXPECT_EQ(watchdog->hanging(), 1);
  watchdog->turned(1);
  EXPECT_EQ(told(), "WATCHDOG=1");
}

TEST_F(ServiceManager, IsToldStates) {
  notify_ready();
  EXPECT_EQ(told(), "READY=1");
  notify_reloading();
  EXPECT_EQ(told().find("RELOADING=1\nMONOTONIC_USEC="), 0U);
  notify_status("ready");
  EXPECT_EQ(told(), "STATUS=ready");
  notify_stopping();
  EXPECT_EQ(told(), "STOPPING=1");
}

TEST(StatusLine, SaysHowMuchThereIsToDoAndWhatIsWrong) {
  EXPECT_EQ(status_line({.readiness = {.ready = true, .reason = ""}, .generation = 3}, 1),
            "ready, 1 connection, generation 3");
  EXPECT_EQ(status_line({.readiness = {.ready = false, .reason = "draining"}, .generation = 3}, 0),
            "not ready: draining, 0 connections, generation 3");
  const ServiceState bad{
      .readiness = {.ready = true, .reason = "a CRL has expired"},
      .generation = 7,
      .refused = {"policy: policy.json:3: unknown\nREADY=1", "discovery: no such file"},
      .hanging = 1};
  EXPECT_EQ(status_line(bad, 12),
            "ready, 12 connections, generation 7; a CRL has expired; shard 1 hangs; refused, last "
            "good state stays: policy: policy.json:3: unknown READY=1; refused, last good state "
            "stays: discovery: no such file");
}

TEST(StatusLine, HasAnEnd) {
  const std::string line = status_line({.refused = {std::string(5'000, 'x')}}, 0);
  EXPECT_EQ(line.size(), 1'024U);
  EXPECT_TRUE(line.ends_with("x..."));
  const std::string no_text = status_line({.refused = {"x\xff"}}, 0);
  EXPECT_TRUE(no_text.ends_with("x\xef\xbf\xbd")) << no_text;
}

}  // namespace
}  // namespace sallyport::gateway
