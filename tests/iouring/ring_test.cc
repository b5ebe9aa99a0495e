#include "iouring/ring.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <thread>
#include <vector>

#include "iouring/both.h"
#include "iouring/deadline.h"
#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

Task<void> nothing() {
  co_return;
}

TEST(Ring, RunsATaskThatNeverWaits) {
  auto ring = make_ring();
  ring->run(nothing());
  ring->run(nothing());
}

TEST(Ring, IsMadeOnOneThreadAndRunsOnAnother) {
  auto ring = make_ring({.registered_descriptors = 4});
  std::thread([&] { ring->run(nothing()); }).join();
}

TEST(Ring, KnowsTheOpcodesOfTheKernel) {
  auto ring = make_ring();
  EXPECT_TRUE(ring->has(Opcode::kRecv));
  EXPECT_TRUE(ring->has(Opcode::kAsyncCancel));
  EXPECT_EQ(ring->table_size(), 0U);
}

TEST(Ring, RefusesATableBeyondTheDescriptorLimitAndSaysWhy) {
  if (!has_tables()) GTEST_SKIP() << kNoTables;
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto ring =
      Ring::create({.registered_descriptors = static_cast<unsigned>(limit.rlim_cur) + 1});
  ASSERT_FALSE(ring);
  EXPECT_EQ(ring.error().error, EMFILE);
  EXPECT_NE(ring.error().what.find("RLIMIT_NOFILE"), std::string::npos) << ring.error().what;
  struct rlimit after = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, limit.rlim_cur) << "the limit is the operator's";
}

Task<void> echo_byte(Ring& ring) {
  SocketPair pair = unix_pair(ring);
  const Result<> sent = co_await pair.left.send_all(as_bytes("x"));
  EXPECT_TRUE(sent);
  const std::string got = co_await recv_exactly(pair.right, 1);
  EXPECT_EQ(got, "x");
}

Task<void> many(Ring& ring, int count) {
  TaskGroup group(ring);
  for (int i = 0; i < count; ++i) group.spawn(echo_byte(ring));
  co_await group.join();
}

TEST(Ring, SubmitsEarlyWhenTheQueueIsFull) {
  auto ring = make_ring({.entries = 4, .completion_entries = 8});
  ring->run(many(*ring, 500));
}

Task<void> busy_for(Ring& ring, std::chrono::milliseconds duration) {
  co_await next_iteration(ring);
  const TimePoint until = std::chrono::steady_clock::now() + duration;
  while (std::chrono::steady_clock::now() < until) {
  }
  const Result<> slept = co_await sleep_for(ring, 10ms);
  EXPECT_TRUE(slept);
}

TEST(Ring, CountsItsBusyTime) {
  auto ring = make_ring();
  EXPECT_EQ(ring->busy_time().count(), 0);
  ring->run(busy_for(*ring, 20ms));
  const auto busy = ring->busy_time();
  EXPECT_GE(busy, 20ms);
  std::thread([&] { EXPECT_GE(ring->busy_time(), busy); }).join();
}

// Longer than the test may run: events must be seen while the ring polls.
constexpr std::chrono::microseconds kForAnHour = std::chrono::hours(1);

TEST(Ring, FiresATimerWhileItPollsBusily) {
  auto ring = make_ring({.busy_poll = kForAnHour});
  ring->run(busy_for(*ring, 0ms));
}

Task<void> receive_from_a_thread(Ring& ring) {
  SocketPair pair = unix_pair(ring);
  const int sending = pair.left.descriptor();
  const std::uint64_t before = ring.iterations();
  std::thread sender([sending] { EXPECT_EQ(::send(sending, "x", 1, 0), 1); });
  const std::string got = co_await recv_exactly(pair.right, 1);
  sender.join();  // before the socket is closed
  EXPECT_EQ(got, "x");
  EXPECT_GT(ring.iterations(), before);
}

TEST(Ring, SeesWhatAnotherThreadSendsWhileItPollsBusily) {
  auto ring = make_ring({.busy_poll = kForAnHour});
  ring->run(receive_from_a_thread(*ring));
}

TEST(Ring, SubmitsBeforeItPollsBusily) {
  auto ring = make_ring({.entries = 4, .completion_entries = 8, .busy_poll = kForAnHour});
  ring->run(many(*ring, 500));
}

Task<void> receive_bytes(Socket& socket, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string got = co_await recv_exactly(socket, 1);
    EXPECT_EQ(got, "x");
  }
}

// Another thread sends `rounds` bytes to each of 64 sockets, one byte at a time.
Task<void> receive_one_by_one(Ring& ring, int rounds) {
  std::vector<SocketPair> pairs;
  for (int i = 0; i < 64; ++i) pairs.push_back(unix_pair(ring));
  std::thread sender([&pairs, rounds] {
    for (int i = 0; i < rounds; ++i) {
      for (const SocketPair& pair : pairs) {
        EXPECT_EQ(::send(pair.left.descriptor(), "x", 1, 0), 1);
        std::this_thread::sleep_for(50us);
      }
    }
  });
  TaskGroup group(ring);
  for (SocketPair& pair : pairs) group.spawn(receive_bytes(pair.right, rounds));
  co_await group.join();
  sender.join();
}

TEST(Ring, ServesSeveralCompletionsAWakeUpWhereTheyComeQuickly) {
  auto ring = make_ring({.wake_coalescing = 100ms});
  ring->run(receive_one_by_one(*ring, 20));
  EXPECT_LT(ring->iterations(), 64U * 20 / 2);
}

Task<void> tick_until(Ring& ring, const bool& done) {
  while (!done) {
    const Result<> slept = co_await sleep_for(ring, 1ms);
    EXPECT_TRUE(slept);
  }
}

// Echoes come in bursts, and the last completions of each burst wait for others, of which there
// are none.
Task<void> echo_in_bursts(Ring& ring) {
  std::vector<SocketPair> idle;
  for (int i = 0; i < 64; ++i) idle.push_back(unix_pair(ring));
  bool done = false;
  TaskGroup group(ring);
  group.spawn(tick_until(ring, done));
  for (SocketPair& pair : idle) group.spawn(receive_bytes(pair.right, 1));
  for (int i = 0; i < 100; ++i) co_await many(ring, 16);
  for (SocketPair& pair : idle) {
    const Result<> sent = co_await pair.left.send_all(as_bytes("x"));
    EXPECT_TRUE(sent);
  }
  done = true;
  co_await group.join();
}

TEST(Ring, FiresATimerWhileItWaitsForMoreCompletions) {
  auto ring = make_ring({.wake_coalescing = kForAnHour});
  ring->run(echo_in_bursts(*ring));
}

using RingDeathTest = ::testing::Test;

// As a container's seccomp profile does: io_uring_setup(2) returns EPERM.
void forbid_io_uring() {
  std::array<sock_filter, 4> program{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{program.size(), program.data()};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

TEST(RingDeathTest, ExplainsAnEPERMToTheOperator) {
  EXPECT_EXIT(
      {
        forbid_io_uring();
        const auto ring = Ring::create();
        if (ring) ::_exit(1);
        std::fprintf(stderr, "%s\n", ring.error().what.c_str());
        ::_exit(ring.error().error == EPERM ? 0 : 2);
      },
      ::testing::ExitedWithCode(0), "seccomp|kernel.io_uring_disabled");
}

TEST(RingDeathTest, AbortsWhenASecondThreadRunsIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        ring->run(nothing());
        std::thread([&] { ring->run(nothing()); }).join();
      },
      "a ring runs on one thread");
}

}  // namespace
}  // namespace sallyport::iouring
