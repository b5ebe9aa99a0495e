#include "iouring/background.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <latch>
#include <optional>
#include <semaphore>
#include <string>
#include <vector>

#include "iouring/deadline.h"
#include "iouring/task_group.h"
#include "tests/iouring/fixture.h"

namespace sallyport::iouring {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Background> make_background(Ring& ring, const Background::Options& options = {}) {
  Result<std::unique_ptr<Background>> background = Background::create(ring, options);
  if (!background) {
    ADD_FAILURE() << background.error().name();
    std::abort();
  }
  return *std::move(background);
}

constexpr const char* kNoWayBack = "needs root's rights or an RLIMIT_NICE of 20 (ulimit -e 20)";

/// False where a thread is forbidden; whatever else goes wrong fails the test.
bool starts(Background& background) {
  const Result<> started = background.start("background");
  if (!started) EXPECT_EQ(started.error().value, EPERM);
  return started.has_value();
}

/// Does not look after its thread within a test.
constexpr Background::Options kPatient{.patience = 1h, .retry = 1h};

/// What pieces of work did, in order. Only one thread works while a test relies on it.
struct Diary {
  std::vector<int> done;       // by the function
  std::vector<int> came_back;  // on the ring's thread
  std::vector<int> cancelled;
};

Task<void> work(Background& background, Rank rank, int name, Diary& diary) {
  const Result<> ran =
      co_await background.run(rank, [&diary, name] { diary.done.push_back(name); });
  if (!ran) {
    EXPECT_EQ(ran.error().value, ECANCELED);
    diary.cancelled.push_back(name);
    co_return;
  }
  diary.came_back.push_back(name);
}

/// Keeps whoever does it until the test lets it go.
struct Stopper {
  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
};

Task<void> stop(Background& background, Stopper& stopper) {
  const Result<> ran = co_await background.run(Rank::kFirst, [&stopper] {
    stopper.begun.release();
    stopper.go_on.acquire();
  });
  EXPECT_TRUE(ran);
}

/// Spawns it and waits until the thread is in the middle of it.
Task<void> begin(Ring& ring, TaskGroup& group, Background& background, Stopper& stopper) {
  group.spawn(stop(background, stopper));
  while (background.size() == 0) co_await ring.yield();
  stopper.begun.acquire();
}

Task<void> note_the_thread(Background& background, std::thread::id& where, int& scheduling_class) {
  const Result<> ran = co_await background.run(Rank::kThird, [&] {
    where = std::this_thread::get_id();
    scheduling_class = ::sched_getscheduler(0);
  });
  EXPECT_TRUE(ran);
  EXPECT_NE(where, std::thread::id());
}

TEST(Background, WorksOnAThreadThatYieldsTheCpuToEveryOther) {
  auto ring = make_ring();
  const auto background = make_background(*ring, kPatient);
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(note_the_thread(*background, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_EQ(scheduling_class, SCHED_IDLE);
  background->stop();
  EXPECT_GT(background->cpu_time().count(), 0);
}

TEST(Background, WorksOnTheRingsThreadWhenItHasNoOther) {
  auto ring = make_ring();
  const auto background = make_background(*ring);
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(note_the_thread(*background, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(Background, WorksOnTheRingsThreadWhileItIsQuiet) {
  auto ring = make_ring();
  const auto background = make_background(*ring, kPatient);
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  int scheduling_class = -1;
  background->set_quiet(true);
  ring->run(note_the_thread(*background, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
  background->set_quiet(false);
  ring->run(note_the_thread(*background, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(Background, HasNoThreadThatCouldNotComeBack) {
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NICE, &limit), 0);
  if (limit.rlim_cur >= kNiceLimit) GTEST_SKIP() << "RLIMIT_NICE lets everybody come back";
  std::thread([] {
    // Of this thread alone, which is why the C library's function would not do.
    if (::geteuid() == 0) ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    auto ring = make_ring();
    const auto background = make_background(*ring);
    const Result<> started = background->start("background");
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().value, EPERM);
    std::thread::id where;
    int scheduling_class = -1;
    ring->run(note_the_thread(*background, where, scheduling_class));
    EXPECT_EQ(where, std::this_thread::get_id());
  }).join();
}

Task<void> one_of_each_rank(Ring& ring, Background& background, Diary& diary) {
  TaskGroup group(ring);
  group.spawn(work(background, Rank::kThird, 1, diary));
  group.spawn(work(background, Rank::kSecond, 2, diary));
  group.spawn(work(background, Rank::kFirst, 3, diary));
  group.spawn(work(background, Rank::kFirst, 4, diary));
  group.spawn(work(background, Rank::kSecond, 5, diary));
  co_await group.join();
}

TEST(Background, ServesByRankAndWithinARankByArrival) {
  auto ring = make_ring();
  const auto background = make_background(*ring);
  Diary diary;
  ring->run(one_of_each_rank(*ring, *background, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{3, 4, 2, 5, 1}));
  EXPECT_EQ(diary.came_back, diary.done);
}

Task<void> many_of_the_second_rank(Ring& ring, Background& background, Diary& diary) {
  TaskGroup group(ring);
  group.spawn(work(background, Rank::kThird, 100, diary));
  group.spawn(work(background, Rank::kThird, 101, diary));
  for (int i = 0; i < 8; ++i) group.spawn(work(background, Rank::kSecond, i, diary));
  group.spawn(work(background, Rank::kFirst, 50, diary));
  co_await group.join();
}

TEST(Background, LetsNobodyStarveWhoDoesNotClaimARank) {
  auto ring = make_ring();
  const auto background = make_background(*ring);
  Diary diary;
  ring->run(many_of_the_second_rank(*ring, *background, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{50, 0, 1, 2, 100, 3, 4, 5, 101, 6, 7}));
}

Task<void> what_is_urgent_comes_late(Ring& ring, Background& background, Diary& diary) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, background, stopper);
  for (int i = 0; i < 6; ++i) group.spawn(work(background, Rank::kThird, i, diary));
  while (background.size() < 7) co_await ring.yield();
  group.spawn(work(background, Rank::kFirst, 50, diary));
  while (background.size() < 8) co_await ring.yield();
  stopper.go_on.release();
  co_await group.join();
}

TEST(Background, OffersItsThreadTwoPiecesInAdvanceAndNoMore) {
  auto ring = make_ring();
  const auto background = make_background(*ring, kPatient);
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  ring->run(what_is_urgent_comes_late(*ring, *background, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{0, 1, 50, 2, 3, 4, 5}));
  EXPECT_EQ(diary.came_back, diary.done);
}

Task<void> cancel_what_waits(Ring& ring, Background& background, Diary& diary) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, background, stopper);
  std::vector<CancelScope*> scopes;
  for (int i = 0; i < 6; ++i)
    scopes.push_back(&group.spawn(work(background, Rank::kThird, i, diary)));
  while (background.size() < 7) co_await ring.yield();
  scopes[0]->cancel();  // offered to the thread already
  scopes[1]->cancel();
  scopes[4]->cancel();  // in the queue
  while (diary.cancelled.size() < 3) co_await ring.yield();
  EXPECT_EQ(diary.cancelled, (std::vector<int>{0, 1, 4}));
  stopper.go_on.release();
  co_await group.join();
}

TEST(Background, GivesBackWhatIsCancelledBeforeItBegan) {
  auto ring = make_ring();
  const auto background = make_background(*ring, kPatient);
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  ring->run(cancel_what_waits(*ring, *background, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{2, 3, 5}));
}

Task<void> cancel_what_is_under_way(Ring& ring, Background& background, bool& ended) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, background, stopper);
  group.cancel_all();
  for (int i = 0; i < 5; ++i) co_await ring.yield();
  EXPECT_EQ(group.size(), 1U) << "its frame is still in use";
  stopper.go_on.release();
  co_await group.join();
  ended = true;
}

TEST(Background, WaitsForWhatIsCancelledWhileItRuns) {
  auto ring = make_ring();
  const auto background = make_background(*ring, kPatient);
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  bool ended = false;
  ring->run(cancel_what_is_under_way(*ring, *background, ended));
  EXPECT_TRUE(ended);
}

Task<void> under_a_cancelled_scope(Ring& ring, Background& background, Diary& diary) {
  TaskGroup group(ring);
  group.cancel_all();
  group.spawn(work(background, Rank::kFirst, 1, diary));
  co_await group.join();
}

TEST(Background, BeginsNothingUnderACancelledScope) {
  auto ring = make_ring();
  const auto background = make_background(*ring);
  Diary diary;
  ring->run(under_a_cancelled_scope(*ring, *background, diary));
  EXPECT_TRUE(diary.done.empty());
  EXPECT_EQ(diary.cancelled, std::vector<int>{1});
}

Task<void> overtake(Ring& ring, Background& background, Diary& diary, bool& here) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, background, stopper);
  group.spawn(work(background, Rank::kThird, 3, diary));
  group.spawn(work(background, Rank::kThird, 4, diary));
  group.spawn(work(background, Rank::kThird, 5, diary));
  group.spawn(work(background, Rank::kSecond, 2, diary));
  group.spawn(work(background, Rank::kFirst, 1, diary));
  while (background.size() < 6) co_await ring.yield();
  // The thread will not come back before all of it is done.
  while (background.size() > 1) {
    const Result<> slept = co_await sleep_for(ring, 1ms);
    EXPECT_TRUE(slept);
  }
  here = true;
  stopper.go_on.release();
  co_await group.join();
}

TEST(Background, IsOvertakenByTheRingWhenItsThreadDoesNotGetOn) {
  auto ring = make_ring();
  const auto background = make_background(*ring, {.patience = 1ms, .retry = 1h});
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  bool here = false;
  ring->run(overtake(*ring, *background, diary, here));
  EXPECT_TRUE(here);
  EXPECT_EQ(diary.done, (std::vector<int>{1, 2, 3, 4, 5}));
}

Task<void> overtake_and_try_again(Ring& ring, Background& background, std::thread::id& where) {
  TaskGroup group(ring);
  Diary diary;
  bool here = false;
  co_await overtake(ring, background, diary, here);
  do {
    const Result<> ran =
        co_await background.run(Rank::kFirst, [&where] { where = std::this_thread::get_id(); });
    EXPECT_TRUE(ran);
  } while (where == std::this_thread::get_id());
}

TEST(Background, TriesItsThreadAgainAfterAWhile) {
  auto ring = make_ring();
  const auto background = make_background(*ring, {.patience = 1ms, .retry = 1ms});
  if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  ring->run(overtake_and_try_again(*ring, *background, where));
  EXPECT_NE(where, std::this_thread::get_id());
}

Task<void> count_many(Background& background, std::atomic<int>& count, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const Result<> ran = co_await background.run(
        static_cast<Rank>(i % 3), [&count] { count.fetch_add(1, std::memory_order_relaxed); });
    if (!ran) co_return;
  }
}

Task<void> count_with_many(Ring& ring, Background& background, std::atomic<int>& count) {
  TaskGroup group(ring);
  for (int i = 0; i < 40; ++i) group.spawn(count_many(background, count, 50));
  co_await group.join();
}

TEST(Background, LosesNothingUnderLoadNorWhileItIsOvertaken) {
  for (const auto patience : {1h, std::chrono::hours(0)}) {
    auto ring = make_ring();
    const auto background = make_background(*ring, {.patience = patience, .retry = 1ms});
    if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
    std::atomic<int> count = 0;
    ring->run(count_with_many(*ring, *background, count));
    EXPECT_EQ(count, 40 * 50);
  }
}

Task<void> cancel_in_the_middle(Ring& ring, Background& background, std::atomic<int>& count) {
  TaskGroup group(ring);
  for (int i = 0; i < 40; ++i) group.spawn(count_many(background, count, 1'000'000));
  while (count.load(std::memory_order_relaxed) < 500) co_await ring.yield();
  group.cancel_all();
  co_await group.join();
  EXPECT_EQ(background.size(), 0U);
}

TEST(Background, EndsCleanlyWithWorkUnderWay) {
  for (int i = 0; i < 20; ++i) {
    auto ring = make_ring();
    const auto background = make_background(*ring);
    if (!starts(*background)) GTEST_SKIP() << kNoWayBack;
    std::atomic<int> count = 0;
    ring->run(cancel_in_the_middle(*ring, *background, count));
    background->stop();
  }
}

}  // namespace
}  // namespace sallyport::iouring
