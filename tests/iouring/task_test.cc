#include "iouring/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "iouring/both.h"
#include "iouring/frame_memory.h"
#include "iouring/ring.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

Task<int> answer() {
  co_return 42;
}

Task<void> note(bool& ran) {
  ran = true;
  co_return;
}

Task<std::unique_ptr<int>> owning() {
  co_return std::make_unique<int>(7);
}

Task<void> await_values(int& number, int& owned) {
  number = co_await answer();
  const std::unique_ptr<int> pointer = co_await owning();
  owned = *pointer;
}

TEST(Task, StartsOnlyWhenAwaited) {
  bool ran = false;
  {
    const Task<void> never = note(ran);
    EXPECT_FALSE(never.done());
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(FrameMemory::live_frames(), 0U);
}

TEST(Task, ReturnsValuesAndOwnershipToTheAwaiter) {
  auto ring = make_ring();
  int number = 0;
  int owned = 0;
  ring->run(await_values(number, owned));
  EXPECT_EQ(number, 42);
  EXPECT_EQ(owned, 7);
  EXPECT_EQ(FrameMemory::live_frames(), 0U);
}

Task<int> one() {
  co_return 1;
}

Task<void> await_many_times(long& sum) {
  for (int i = 0; i < 200'000; ++i) {
    const int value = co_await one();
    sum += value;
  }
}

TEST(Task, ReturnsManyTimesWithoutGrowingTheStack) {
  auto ring = make_ring();
  long sum = 0;
  ring->run(await_many_times(sum));
  EXPECT_EQ(sum, 200'000);
}

Task<int> nested(int depth) {
  if (depth == 0) co_return 0;
  const int below = co_await nested(depth - 1);
  co_return below + 1;
}

Task<void> go_deep(int& depth) {
  depth = co_await nested(20'000);
}

TEST(Task, ReturnsThroughDeepNestingWithoutGrowingTheStack) {
  auto ring = make_ring();
  int depth = 0;
  ring->run(go_deep(depth));
  EXPECT_EQ(depth, 20'000);
}

Task<CancelScope*> scope_here() {
  CancelScope* scope = co_await current_scope();
  co_return scope;
}

Task<void> look_at_scopes(CancelScope& inner, CancelScope*& outside, CancelScope*& inside) {
  outside = co_await scope_here();
  inside = co_await in_scope(inner, scope_here());
}

TEST(Task, InheritsTheScopeOfItsAwaiterUnlessGivenOne) {
  auto ring = make_ring();
  CancelScope outer;
  CancelScope inner(&outer);
  CancelScope* outside = &inner;
  CancelScope* inside = nullptr;
  ring->run(look_at_scopes(inner, outside, inside));
  EXPECT_EQ(outside, nullptr);
  EXPECT_EQ(inside, &inner);
}

Task<int> wait_then(Ring& ring, int iterations, int value) {
  for (int i = 0; i < iterations; ++i) co_await next_iteration(ring);
  co_return value;
}

Task<void> run_both(Ring& ring, int& left, int& right) {
  auto [a, b] = co_await both(wait_then(ring, 3, 1), wait_then(ring, 1, 2));
  left = a;
  right = b;
  auto [c, d] = co_await both(answer(), wait_then(ring, 0, 5));  // neither ever waits
  left += c;
  right += d;
}

TEST(Both, WaitsForTheSlowerAndPairsTheResults) {
  auto ring = make_ring();
  int left = 0;
  int right = 0;
  ring->run(run_both(*ring, left, right));
  EXPECT_EQ(left, 43);
  EXPECT_EQ(right, 7);
}

TEST(FrameMemory, CountsTheFramesThatLive) {
  const std::size_t frames = FrameMemory::live_frames();
  const std::size_t bytes = FrameMemory::live_bytes();
  bool ran = false;
  {
    std::vector<Task<void>> tasks;  // on the heap, or the compiler does without frames
    for (int i = 0; i < 2; ++i) tasks.push_back(note(ran));
    EXPECT_EQ(FrameMemory::live_frames(), frames + 2);
    EXPECT_GT(FrameMemory::live_bytes(), bytes + 2 * sizeof(PromiseBase));
  }
  EXPECT_EQ(FrameMemory::live_frames(), frames);
  EXPECT_EQ(FrameMemory::live_bytes(), bytes);
}

TEST(FrameMemory, MayBeFreedOnAnotherThread) {
  bool ran = false;
  Task<void> main = note(ran);
  std::thread([task = std::move(main)]() mutable {
    auto ring = make_ring();
    ring->run(std::move(task));
  }).join();
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace sallyport::iouring
