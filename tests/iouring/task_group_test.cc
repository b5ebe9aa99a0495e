#include "iouring/task_group.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <vector>

#include "iouring/deadline.h"
#include "iouring/frame_memory.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

Task<void> count_up(Ring& ring, int& count) {
  co_await next_iteration(ring);
  ++count;
}

Task<void> spawn_and_join(Ring& ring, int tasks, int& count) {
  TaskGroup group(ring);
  for (int i = 0; i < tasks; ++i) group.spawn(count_up(ring, count));
  EXPECT_EQ(group.size(), static_cast<std::size_t>(tasks));
  EXPECT_EQ(count, 0) << "a task starts from the run loop";
  co_await group.join();
  EXPECT_EQ(group.size(), 0U);
  co_await group.join();
}

TEST(TaskGroup, JoinsTenThousandTasks) {
  auto ring = make_ring();
  int count = 0;
  ring->run(spawn_and_join(*ring, 10'000, count));
  EXPECT_EQ(count, 10'000);
  EXPECT_EQ(FrameMemory::live_frames(), 0U);
}

Task<void> sleep_long(Ring& ring, int& cancelled) {
  const Result<> slept = co_await sleep_for(ring, 1h);
  if (!slept) ++cancelled;
}

Task<void> cancel_all(Ring& ring, int& cancelled) {
  TaskGroup group(ring);
  for (int i = 0; i < 1000; ++i) group.spawn(sleep_long(ring, cancelled));
  co_await next_iteration(ring);
  co_await next_iteration(ring);
  group.cancel_all();
  group.spawn(sleep_long(ring, cancelled));  // cancelled before it starts
  co_await group.join();
}

TEST(TaskGroup, CancelsAllAndWaitsForThem) {
  auto ring = make_ring();
  int cancelled = 0;
  ring->run(cancel_all(*ring, cancelled));
  EXPECT_EQ(cancelled, 1001);
}

Task<void> cancel_one(Ring& ring, int& first, int& second) {
  TaskGroup group(ring);
  CancelScope& scope = group.spawn(sleep_long(ring, first));
  group.spawn(sleep_long(ring, second));
  co_await next_iteration(ring);
  co_await next_iteration(ring);
  scope.cancel();
  while (group.size() == 2) co_await next_iteration(ring);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);
  group.cancel_all();
  co_await group.join();
}

TEST(TaskGroup, CancelsOneTaskAlone) {
  auto ring = make_ring();
  int first = 0;
  int second = 0;
  ring->run(cancel_one(*ring, first, second));
  EXPECT_EQ(second, 1);
}

Task<void> spawn_more(Ring& ring, TaskGroup& group, int depth, int& count) {
  co_await next_iteration(ring);
  ++count;
  if (depth == 0) co_return;
  group.spawn(spawn_more(ring, group, depth - 1, count));
  group.spawn(spawn_more(ring, group, depth - 1, count));
}

Task<void> grow(Ring& ring, int& count) {
  TaskGroup group(ring);
  group.spawn(spawn_more(ring, group, 9, count));
  co_await group.join();
}

TEST(TaskGroup, JoinsTasksThatTasksSpawned) {
  auto ring = make_ring();
  int count = 0;
  ring->run(grow(*ring, count));
  EXPECT_EQ(count, 1023);
}

// One direction of an idle connection: a receive that waits.
Task<void> idle_direction(Socket& from) {
  std::array<std::byte, 1> room{};
  const Result<std::size_t> received = co_await from.recv(room);
  static_cast<void>(received);
}

Task<void> idle_ten_thousand(Ring& ring, std::size_t& bytes_each) {
  constexpr std::size_t kTasks = 10'000;
  std::vector<SocketPair> pairs;
  for (int i = 0; i < 100; ++i) pairs.push_back(unix_pair(ring));
  const std::size_t before = FrameMemory::live_bytes();
  TaskGroup group(ring);
  for (std::size_t i = 0; i < kTasks; ++i) group.spawn(idle_direction(pairs[i % 100].left));
  co_await next_iteration(ring);
  co_await next_iteration(ring);
  EXPECT_EQ(ring.in_flight(), kTasks);
  bytes_each = (FrameMemory::live_bytes() - before) / kTasks;
  group.cancel_all();
  co_await group.join();
  EXPECT_EQ(ring.in_flight(), 0U);
  EXPECT_EQ(FrameMemory::live_bytes(), before);
}

TEST(TaskGroup, KeepsAnIdleTaskBelowHalfAKilobyte) {
  auto ring = make_ring();
  std::size_t bytes_each = 0;
  ring->run(idle_ten_thousand(*ring, bytes_each));
  EXPECT_LE(bytes_each, 512U);
  EXPECT_GE(bytes_each, 128U);
  RecordProperty("bytes_of_an_idle_task", static_cast<int>(bytes_each));
}

using TaskGroupDeathTest = ::testing::Test;

Task<void> forget_to_join(Ring& ring, int& count) {
  TaskGroup group(ring);
  group.spawn(count_up(ring, count));
  co_return;
}

TEST(TaskGroupDeathTest, AbortsWhenDestroyedWithTasksInIt) {
  EXPECT_DEATH(
      {
        auto ring = make_ring();
        int count = 0;
        ring->run(forget_to_join(*ring, count));
      },
      "a task group is joined before it is destroyed.*found 1");
}

}  // namespace
}  // namespace sallyport::iouring
