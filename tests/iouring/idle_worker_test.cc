#include "iouring/idle_worker.h"

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

std::unique_ptr<IdleWorker> make_idle_worker(Ring& ring, const IdleWorker::Options& options = {}) {
  Result<std::unique_ptr<IdleWorker>> idle_worker = IdleWorker::create(ring, options);
  if (!idle_worker) {
    ADD_FAILURE() << idle_worker.error().name();
    std::abort();
  }
  return *std::move(idle_worker);
}

constexpr const char* kNoWayBack = "needs root's rights or an RLIMIT_NICE of 20 (ulimit -e 20)";

/// False where a thread is forbidden; whatever else goes wrong fails the test.
bool starts(IdleWorker& idle_worker) {
  const Result<> started = idle_worker.start("idle_worker");
  if (!started) EXPECT_EQ(started.error().value, EPERM);
  return started.has_value();
}

/// Does not look after its thread within a test.
constexpr IdleWorker::Options kPatient{.progress_timeout = 1h, .retry_after = 1h};

/// What pieces of work did, in order. Only one thread works while a test relies on it.
struct Diary {
  std::vector<int> done;       // by the function
  std::vector<int> came_back;  // on the ring's thread
  std::vector<int> cancelled;
};

Task<void> work(IdleWorker& idle_worker, Rank rank, int name, Diary& diary) {
  const Result<> ran =
      co_await idle_worker.run(rank, [&diary, name] { diary.done.push_back(name); });
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

Task<void> stop(IdleWorker& idle_worker, Stopper& stopper) {
  const Result<> ran = co_await idle_worker.run(Rank::kStarted, [&stopper] {
    stopper.begun.release();
    stopper.go_on.acquire();
  });
  EXPECT_TRUE(ran);
}

/// Spawns it and waits until the thread is in the middle of it.
Task<void> begin(Ring& ring, TaskGroup& group, IdleWorker& idle_worker, Stopper& stopper) {
  group.spawn(stop(idle_worker, stopper));
  while (idle_worker.size() == 0) co_await next_iteration(ring);
  stopper.begun.acquire();
}

Task<void> note_the_thread(IdleWorker& idle_worker, std::thread::id& where, int& scheduling_class) {
  const Result<> ran = co_await idle_worker.run(Rank::kNew, [&] {
    where = std::this_thread::get_id();
    scheduling_class = ::sched_getscheduler(0);
  });
  EXPECT_TRUE(ran);
  EXPECT_NE(where, std::thread::id());
}

TEST(IdleWorker, WorksOnAThreadThatYieldsTheCpuToEveryOther) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kPatient);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(note_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_EQ(scheduling_class, SCHED_IDLE);
  idle_worker->stop();
  EXPECT_GT(idle_worker->cpu_time().count(), 0);
}

TEST(IdleWorker, WorksOnTheRingsThreadWhenItHasNoOther) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(note_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(IdleWorker, WorksOnTheRingsThreadWhileItIsQuiet) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kPatient);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  int scheduling_class = -1;
  idle_worker->set_quiet(true);
  ring->run(note_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
  idle_worker->set_quiet(false);
  ring->run(note_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(IdleWorker, HasNoThreadThatCouldNotComeBack) {
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NICE, &limit), 0);
  if (limit.rlim_cur >= kNiceLimit) GTEST_SKIP() << "RLIMIT_NICE lets everybody come back";
  std::thread([] {
    // Of this thread alone, which is why the C library's function would not do.
    if (::geteuid() == 0) ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    auto ring = make_ring();
    const auto idle_worker = make_idle_worker(*ring);
    const Result<> started = idle_worker->start("idle_worker");
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().value, EPERM);
    std::thread::id where;
    int scheduling_class = -1;
    ring->run(note_the_thread(*idle_worker, where, scheduling_class));
    EXPECT_EQ(where, std::this_thread::get_id());
  }).join();
}

Task<void> one_of_each_rank(Ring& ring, IdleWorker& idle_worker, Diary& diary) {
  TaskGroup group(ring);
  group.spawn(work(idle_worker, Rank::kNew, 1, diary));
  group.spawn(work(idle_worker, Rank::kResuming, 2, diary));
  group.spawn(work(idle_worker, Rank::kStarted, 3, diary));
  group.spawn(work(idle_worker, Rank::kStarted, 4, diary));
  group.spawn(work(idle_worker, Rank::kResuming, 5, diary));
  co_await group.join();
}

TEST(IdleWorker, ServesByRankAndWithinARankByArrival) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Diary diary;
  ring->run(one_of_each_rank(*ring, *idle_worker, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{3, 4, 2, 5, 1}));
  EXPECT_EQ(diary.came_back, diary.done);
}

Task<void> many_of_the_second_rank(Ring& ring, IdleWorker& idle_worker, Diary& diary) {
  TaskGroup group(ring);
  group.spawn(work(idle_worker, Rank::kNew, 100, diary));
  group.spawn(work(idle_worker, Rank::kNew, 101, diary));
  for (int i = 0; i < 8; ++i) group.spawn(work(idle_worker, Rank::kResuming, i, diary));
  group.spawn(work(idle_worker, Rank::kStarted, 50, diary));
  co_await group.join();
}

TEST(IdleWorker, LetsNobodyStarveWhoDoesNotClaimARank) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Diary diary;
  ring->run(many_of_the_second_rank(*ring, *idle_worker, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{50, 0, 1, 2, 100, 3, 4, 5, 101, 6, 7}));
}

Task<void> what_is_urgent_comes_late(Ring& ring, IdleWorker& idle_worker, Diary& diary) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, idle_worker, stopper);
  for (int i = 0; i < 6; ++i) group.spawn(work(idle_worker, Rank::kNew, i, diary));
  while (idle_worker.size() < 7) co_await next_iteration(ring);
  group.spawn(work(idle_worker, Rank::kStarted, 50, diary));
  while (idle_worker.size() < 8) co_await next_iteration(ring);
  stopper.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, OffersItsThreadTwoPiecesInAdvanceAndNoMore) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kPatient);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  ring->run(what_is_urgent_comes_late(*ring, *idle_worker, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{0, 1, 50, 2, 3, 4, 5}));
  EXPECT_EQ(diary.came_back, diary.done);
}

Task<void> cancel_what_waits(Ring& ring, IdleWorker& idle_worker, Diary& diary) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, idle_worker, stopper);
  std::vector<CancelScope*> scopes;
  for (int i = 0; i < 6; ++i)
    scopes.push_back(&group.spawn(work(idle_worker, Rank::kNew, i, diary)));
  while (idle_worker.size() < 7) co_await next_iteration(ring);
  scopes[0]->cancel();  // offered to the thread already
  scopes[1]->cancel();
  scopes[4]->cancel();  // in the queue
  while (diary.cancelled.size() < 3) co_await next_iteration(ring);
  EXPECT_EQ(diary.cancelled, (std::vector<int>{0, 1, 4}));
  stopper.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, GivesBackWhatIsCancelledBeforeItBegan) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kPatient);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  ring->run(cancel_what_waits(*ring, *idle_worker, diary));
  EXPECT_EQ(diary.done, (std::vector<int>{2, 3, 5}));
}

Task<void> cancel_what_is_under_way(Ring& ring, IdleWorker& idle_worker, bool& ended) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, idle_worker, stopper);
  group.cancel_all();
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  EXPECT_EQ(group.size(), 1U) << "its frame is still in use";
  stopper.go_on.release();
  co_await group.join();
  ended = true;
}

TEST(IdleWorker, WaitsForWhatIsCancelledWhileItRuns) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kPatient);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  bool ended = false;
  ring->run(cancel_what_is_under_way(*ring, *idle_worker, ended));
  EXPECT_TRUE(ended);
}

Task<void> under_a_cancelled_scope(Ring& ring, IdleWorker& idle_worker, Diary& diary) {
  TaskGroup group(ring);
  group.cancel_all();
  group.spawn(work(idle_worker, Rank::kStarted, 1, diary));
  co_await group.join();
}

TEST(IdleWorker, BeginsNothingUnderACancelledScope) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Diary diary;
  ring->run(under_a_cancelled_scope(*ring, *idle_worker, diary));
  EXPECT_TRUE(diary.done.empty());
  EXPECT_EQ(diary.cancelled, std::vector<int>{1});
}

Task<void> overtake(Ring& ring, IdleWorker& idle_worker, Diary& diary, bool& here) {
  TaskGroup group(ring);
  Stopper stopper;
  co_await begin(ring, group, idle_worker, stopper);
  group.spawn(work(idle_worker, Rank::kNew, 3, diary));
  group.spawn(work(idle_worker, Rank::kNew, 4, diary));
  group.spawn(work(idle_worker, Rank::kNew, 5, diary));
  group.spawn(work(idle_worker, Rank::kResuming, 2, diary));
  group.spawn(work(idle_worker, Rank::kStarted, 1, diary));
  while (idle_worker.size() < 6) co_await next_iteration(ring);
  // The thread will not come back before all of it is done.
  while (idle_worker.size() > 1) {
    const Result<> slept = co_await sleep_for(ring, 1ms);
    EXPECT_TRUE(slept);
  }
  here = true;
  stopper.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, IsOvertakenByTheRingWhenItsThreadDoesNotGetOn) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, {.progress_timeout = 1ms, .retry_after = 1h});
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  Diary diary;
  bool here = false;
  ring->run(overtake(*ring, *idle_worker, diary, here));
  EXPECT_TRUE(here);
  EXPECT_EQ(diary.done, (std::vector<int>{1, 2, 3, 4, 5}));
}

Task<void> overtake_and_try_again(Ring& ring, IdleWorker& idle_worker, std::thread::id& where) {
  TaskGroup group(ring);
  Diary diary;
  bool here = false;
  co_await overtake(ring, idle_worker, diary, here);
  do {
    const Result<> ran =
        co_await idle_worker.run(Rank::kStarted, [&where] { where = std::this_thread::get_id(); });
    EXPECT_TRUE(ran);
  } while (where == std::this_thread::get_id());
}

TEST(IdleWorker, TriesItsThreadAgainAfterAWhile) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, {.progress_timeout = 1ms, .retry_after = 1ms});
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
  std::thread::id where;
  ring->run(overtake_and_try_again(*ring, *idle_worker, where));
  EXPECT_NE(where, std::this_thread::get_id());
}

Task<void> count_many(IdleWorker& idle_worker, std::atomic<int>& count, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const Result<> ran = co_await idle_worker.run(
        static_cast<Rank>(i % 3), [&count] { count.fetch_add(1, std::memory_order_relaxed); });
    if (!ran) co_return;
  }
}

Task<void> count_with_many(Ring& ring, IdleWorker& idle_worker, std::atomic<int>& count) {
  TaskGroup group(ring);
  for (int i = 0; i < 40; ++i) group.spawn(count_many(idle_worker, count, 50));
  co_await group.join();
}

TEST(IdleWorker, LosesNothingUnderLoadNorWhileItIsOvertaken) {
  for (const auto progress_timeout : {1h, std::chrono::hours(0)}) {
    auto ring = make_ring();
    const auto idle_worker =
        make_idle_worker(*ring, {.progress_timeout = progress_timeout, .retry_after = 1ms});
    if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
    std::atomic<int> count = 0;
    ring->run(count_with_many(*ring, *idle_worker, count));
    EXPECT_EQ(count, 40 * 50);
  }
}

Task<void> cancel_in_the_middle(Ring& ring, IdleWorker& idle_worker, std::atomic<int>& count) {
  TaskGroup group(ring);
  for (int i = 0; i < 40; ++i) group.spawn(count_many(idle_worker, count, 1'000'000));
  while (count.load(std::memory_order_relaxed) < 500) co_await next_iteration(ring);
  group.cancel_all();
  co_await group.join();
  EXPECT_EQ(idle_worker.size(), 0U);
}

TEST(IdleWorker, EndsCleanlyWithWorkUnderWay) {
  for (int i = 0; i < 20; ++i) {
    auto ring = make_ring();
    const auto idle_worker = make_idle_worker(*ring);
    if (!starts(*idle_worker)) GTEST_SKIP() << kNoWayBack;
    std::atomic<int> count = 0;
    ring->run(cancel_in_the_middle(*ring, *idle_worker, count));
    idle_worker->stop();
  }
}

}  // namespace
}  // namespace sallyport::iouring
