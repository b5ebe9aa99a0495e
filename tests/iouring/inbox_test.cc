#include "iouring/inbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "iouring/deadline.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Inbox> make_inbox(Ring& ring) {
  Result<std::unique_ptr<Inbox>> inbox = Inbox::create(ring);
  if (!inbox) std::abort();
  return std::move(*inbox);
}

Task<void> sleep_until_cancelled(Ring& ring) {
  const Result<> slept = co_await sleep_for(ring, 1h);
  EXPECT_FALSE(slept);
}

Task<void> wait_for(Ring& ring, CancelScope& scope) {
  co_await in_scope(scope, sleep_until_cancelled(ring));
}

TEST(Inbox, RunsMessagesOfManyThreadsOnTheRingsThreadInOrder) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  auto ring = make_ring();
  auto inbox = make_inbox(*ring);
  CancelScope all_came;
  std::vector<int> last(kThreads, -1);  // used on the ring's thread only
  int count = 0;
  std::thread::id ran_on;
  std::vector<std::thread> threads;
  for (int sender = 0; sender < kThreads; ++sender) {
    threads.emplace_back([&, sender] {
      for (int i = 0; i < kEach; ++i) {
        inbox->post([&, sender, i] {
          EXPECT_EQ(last[sender], i - 1);
          last[sender] = i;
          ran_on = std::this_thread::get_id();
          if (++count == kThreads * kEach) all_came.cancel();
        });
      }
    });
  }
  ring->run(wait_for(*ring, all_came));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kEach);
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(Inbox, WakesARingThatSleeps) {
  auto ring = make_ring();
  auto inbox = make_inbox(*ring);
  CancelScope scope;
  std::thread poster([&] {
    while (ring->busy_time().count() == 0) std::this_thread::yield();
    inbox->post([&] { scope.cancel(); });
  });
  ring->run(wait_for(*ring, scope));
  poster.join();
}

TEST(Inbox, RunsMessagesPostedBeforeTheRingRan) {
  auto ring = make_ring();
  auto inbox = make_inbox(*ring);
  CancelScope scope;
  inbox->post([&] { scope.cancel(); });
  ring->run(wait_for(*ring, scope));
}

TEST(Inbox, RunsAMessageThatAMessagePosts) {
  auto ring = make_ring();
  auto inbox = make_inbox(*ring);
  CancelScope scope;
  inbox->post([&] { inbox->post([&] { scope.cancel(); }); });
  ring->run(wait_for(*ring, scope));
}

TEST(Inbox, DestroysMessagesThatNeverRan) {
  auto ring = make_ring();
  auto inbox = make_inbox(*ring);
  auto kept = std::make_shared<int>(1);
  inbox->post([kept] {});
  EXPECT_EQ(kept.use_count(), 2);
  inbox.reset();
  EXPECT_EQ(kept.use_count(), 1);
}

TEST(Inbox, SharesARingWithOtherInboxes) {
  auto ring = make_ring();
  auto first = make_inbox(*ring);
  auto second = make_inbox(*ring);
  CancelScope scope;
  int seen = 0;
  first->post([&] { ++seen; });
  second->post([&] {
    ++seen;
    scope.cancel();
  });
  ring->run(wait_for(*ring, scope));
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace sallyport::iouring
