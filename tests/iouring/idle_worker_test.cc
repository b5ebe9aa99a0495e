#include "iouring/idle_worker.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

namespace {

// Of any thread, by the last call.
std::atomic<int> scheduling_class_set = -1;

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __real_pthread_setschedparam(pthread_t thread, int scheduling_class,
                                            const sched_param* parameters);
extern "C" int __wrap_pthread_setschedparam(pthread_t thread, int scheduling_class,
                                            const sched_param* parameters) {
  scheduling_class_set = scheduling_class;
  return __real_pthread_setschedparam(thread, scheduling_class, parameters);
}
// NOLINTEND(bugprone-reserved-identifier)

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

constexpr const char* kNoThread = "needs root's rights or an RLIMIT_NICE of 20 (ulimit -e 20)";

/// False where a thread is forbidden (EPERM); any other error fails the test.
bool starts(IdleWorker& idle_worker) {
  const Result<> started = idle_worker.start("idle_worker");
  if (!started) EXPECT_EQ(started.error().value, EPERM);
  return started.has_value();
}

/// Options with which the thread is not bypassed within a test.
constexpr IdleWorker::Options kNeverBypassed{.progress_timeout = 1h, .retry_after = 1h};

/// The order in which pieces of work ran and ended. Only one thread runs work while a test relies
/// on it.
struct Log {
  std::vector<int> done;       // the function ran
  std::vector<int> completed;  // the coroutine resumed
  std::vector<int> cancelled;
};

Task<void> work(IdleWorker& idle_worker, Rank rank, int name, Log& log) {
  const Result<> ran = co_await idle_worker.run(rank, [&log, name] { log.done.push_back(name); });
  if (!ran) {
    EXPECT_EQ(ran.error().value, ECANCELED);
    log.cancelled.push_back(name);
    co_return;
  }
  log.completed.push_back(name);
}

/// Work that blocks its thread until the test releases go_on.
struct Blocker {
  std::binary_semaphore running{0};
  std::binary_semaphore go_on{0};
};

Task<void> block(IdleWorker& idle_worker, Blocker& blocker) {
  const Result<> ran = co_await idle_worker.run(Rank::kStarted, [&blocker] {
    blocker.running.release();
    blocker.go_on.acquire();
  });
  EXPECT_TRUE(ran);
}

/// Spawns it and waits until the thread runs it.
Task<void> block_the_thread(Ring& ring, TaskGroup& group, IdleWorker& idle_worker,
                            Blocker& blocker) {
  group.spawn(block(idle_worker, blocker));
  while (idle_worker.size() == 0) co_await next_iteration(ring);
  blocker.running.acquire();
}

Task<void> record_the_thread(IdleWorker& idle_worker, std::thread::id& where,
                             int& scheduling_class) {
  const Result<> ran = co_await idle_worker.run(Rank::kNew, [&] {
    where = std::this_thread::get_id();
    scheduling_class = ::sched_getscheduler(0);
  });
  EXPECT_TRUE(ran);
  EXPECT_NE(where, std::thread::id());
}

TEST(IdleWorker, RunsWorkOnAThreadUnderSchedIdle) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(record_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_EQ(scheduling_class, SCHED_IDLE);
  idle_worker->stop();
  EXPECT_GT(idle_worker->cpu_time().count(), 0);
}

TEST(IdleWorker, RunsWorkOnTheRingsThreadWhenItHasNoThread) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  std::thread::id where;
  int scheduling_class = -1;
  ring->run(record_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(IdleWorker, RunsWorkOnTheRingsThreadWhileQuiet) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  std::thread::id where;
  int scheduling_class = -1;
  idle_worker->set_quiet(true);
  ring->run(record_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_EQ(where, std::this_thread::get_id());
  idle_worker->set_quiet(false);
  ring->run(record_the_thread(*idle_worker, where, scheduling_class));
  EXPECT_NE(where, std::this_thread::get_id());
}

Task<void> quiet_while_work_is_queued(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  Blocker blocker;
  co_await block_the_thread(ring, group, idle_worker, blocker);
  for (int i = 0; i < 5; ++i) group.spawn(work(idle_worker, Rank::kNew, i, log));
  while (idle_worker.size() < 6) co_await next_iteration(ring);
  idle_worker.set_quiet(true);
  while (log.completed.size() < 3) co_await next_iteration(ring);
  EXPECT_EQ(log.completed, (std::vector<int>{2, 3, 4})) << "0 and 1 were offered to the thread";
  blocker.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, RunsQueuedWorkOnTheRingsThreadOnceQuiet) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  Log log;
  ring->run(quiet_while_work_is_queued(*ring, *idle_worker, log));
  EXPECT_EQ(log.completed.size(), 5U);
}

TEST(IdleWorker, StartsNoThreadThatCouldNotLeaveSchedIdle) {
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NICE, &limit), 0);
  if (limit.rlim_cur >= kNiceLimit)
    GTEST_SKIP() << "RLIMIT_NICE lets every thread leave SCHED_IDLE";
  std::thread([] {
    // The system call changes this thread alone; the C library's function changes all of them.
    if (::geteuid() == 0) ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    auto ring = make_ring();
    const auto idle_worker = make_idle_worker(*ring);
    const Result<> started = idle_worker->start("idle_worker");
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().value, EPERM);
    std::thread::id where;
    int scheduling_class = -1;
    ring->run(record_the_thread(*idle_worker, where, scheduling_class));
    EXPECT_EQ(where, std::this_thread::get_id());
  }).join();
}

// As root in most containers. A thread that was put into SCHED_IDLE there would stay in it, and
// keep who waits for its end, or the process from ending, for seconds where the CPUs are busy.
TEST(IdleWorker, StartsNoThreadWithoutTheCapabilityToLeaveSchedIdle) {
  struct rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NICE, &limit), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "needs root's rights, to do without one of them";
  if (limit.rlim_cur >= kNiceLimit)
    GTEST_SKIP() << "RLIMIT_NICE lets every thread leave SCHED_IDLE";
  std::thread([] {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    ASSERT_EQ(::syscall(SYS_capget, &header, sets.data()), 0);
    sets[0].effective &= ~(1U << CAP_SYS_NICE);
    ASSERT_EQ(::syscall(SYS_capset, &header, sets.data()), 0);
    const int nice = ::getpriority(PRIO_PROCESS, 0);
    auto ring = make_ring();
    const auto idle_worker = make_idle_worker(*ring);
    scheduling_class_set = -1;
    const Result<> started = idle_worker->start("idle_worker");
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().value, EPERM);
    EXPECT_EQ(scheduling_class_set, -1);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), nice) << "of this thread, which stays";
    std::thread::id where;
    int scheduling_class = -1;
    ring->run(record_the_thread(*idle_worker, where, scheduling_class));
    EXPECT_EQ(where, std::this_thread::get_id());
  }).join();
}

// Under SCHED_IDLE it could not end, while others keep the CPU busy, nor could who waits for it.
TEST(IdleWorker, TakesItsThreadOutOfSchedIdleBeforeItWaitsForItsEnd) {
  auto ring = make_ring();
  auto idle_worker = make_idle_worker(*ring);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  EXPECT_EQ(scheduling_class_set, SCHED_IDLE);
  idle_worker.reset();
  EXPECT_EQ(scheduling_class_set, SCHED_OTHER);
}

Task<void> one_of_each_rank(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  group.spawn(work(idle_worker, Rank::kNew, 1, log));
  group.spawn(work(idle_worker, Rank::kResuming, 2, log));
  group.spawn(work(idle_worker, Rank::kStarted, 3, log));
  group.spawn(work(idle_worker, Rank::kStarted, 4, log));
  group.spawn(work(idle_worker, Rank::kResuming, 5, log));
  co_await group.join();
}

TEST(IdleWorker, ServesByRankAndWithinARankByArrival) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Log log;
  ring->run(one_of_each_rank(*ring, *idle_worker, log));
  EXPECT_EQ(log.done, (std::vector<int>{3, 4, 2, 5, 1}));
  EXPECT_EQ(log.completed, log.done);
}

Task<void> many_resuming(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  group.spawn(work(idle_worker, Rank::kNew, 100, log));
  group.spawn(work(idle_worker, Rank::kNew, 101, log));
  for (int i = 0; i < 8; ++i) group.spawn(work(idle_worker, Rank::kResuming, i, log));
  group.spawn(work(idle_worker, Rank::kStarted, 50, log));
  co_await group.join();
}

TEST(IdleWorker, ServesNewWorkAfterThreePiecesOfResumingWork) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Log log;
  ring->run(many_resuming(*ring, *idle_worker, log));
  EXPECT_EQ(log.done, (std::vector<int>{50, 0, 1, 2, 100, 3, 4, 5, 101, 6, 7}));
}

/// Pieces of work that were begun and have not ended.
struct UnderWay {
  int now = 0;
  int most = 0;
};

/// `between`: whether something is waited for between them.
Task<void> two_steps(Ring& ring, IdleWorker& idle_worker, UnderWay& under_way, bool between) {
  const Result<> begun = co_await idle_worker.run(
      Rank::kNew, [&under_way] { under_way.most = std::max(under_way.most, ++under_way.now); });
  EXPECT_TRUE(begun);
  if (between) co_await next_iteration(ring);
  const Result<> ended =
      co_await idle_worker.run(Rank::kStarted, [&under_way] { --under_way.now; });
  EXPECT_TRUE(ended);
}

Task<void> hundred_of_two_steps(Ring& ring, IdleWorker& idle_worker, UnderWay& under_way,
                                bool between) {
  TaskGroup group(ring);
  idle_worker.set_quiet(true);
  for (int i = 0; i < 100; ++i) group.spawn(two_steps(ring, idle_worker, under_way, between));
  co_await group.join();
}

int most_under_way(bool between) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  UnderWay under_way;
  ring->run(hundred_of_two_steps(*ring, *idle_worker, under_way, between));
  EXPECT_EQ(under_way.now, 0);
  return under_way.most;
}

TEST(IdleWorker, HasAtMostEightUnderWayOfWhatItBeginsWhileQuiet) {
  const int most = most_under_way(true);
  EXPECT_GT(most, 1);
  EXPECT_LE(most, 8);
}

TEST(IdleWorker, GoesOnWithWhatItBeganBeforeItBeginsAnotherWhileQuiet) {
  EXPECT_EQ(most_under_way(false), 1);
}

Task<void> started_work_comes_late(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  Blocker blocker;
  co_await block_the_thread(ring, group, idle_worker, blocker);
  for (int i = 0; i < 6; ++i) group.spawn(work(idle_worker, Rank::kNew, i, log));
  while (idle_worker.size() < 7) co_await next_iteration(ring);
  group.spawn(work(idle_worker, Rank::kStarted, 50, log));
  while (idle_worker.size() < 8) co_await next_iteration(ring);
  blocker.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, OffersItsThreadTwoPiecesInAdvanceAndNoMore) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  Log log;
  ring->run(started_work_comes_late(*ring, *idle_worker, log));
  EXPECT_EQ(log.done, (std::vector<int>{0, 1, 50, 2, 3, 4, 5}));
  EXPECT_EQ(log.completed, log.done);
}

Task<void> cancel_waiting_work(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  Blocker blocker;
  co_await block_the_thread(ring, group, idle_worker, blocker);
  std::vector<CancelScope*> scopes;
  for (int i = 0; i < 6; ++i) scopes.push_back(&group.spawn(work(idle_worker, Rank::kNew, i, log)));
  while (idle_worker.size() < 7) co_await next_iteration(ring);
  scopes[0]->cancel();  // already offered to the thread
  scopes[1]->cancel();
  scopes[4]->cancel();  // in the queue
  while (log.cancelled.size() < 3) co_await next_iteration(ring);
  EXPECT_EQ(log.cancelled, (std::vector<int>{0, 1, 4}));
  blocker.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, CompletesWorkThatIsCancelledBeforeItBegan) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  Log log;
  ring->run(cancel_waiting_work(*ring, *idle_worker, log));
  EXPECT_EQ(log.done, (std::vector<int>{2, 3, 5}));
}

Task<void> cancel_running_work(Ring& ring, IdleWorker& idle_worker, bool& ended) {
  TaskGroup group(ring);
  Blocker blocker;
  co_await block_the_thread(ring, group, idle_worker, blocker);
  group.cancel_all();
  for (int i = 0; i < 5; ++i) co_await next_iteration(ring);
  EXPECT_EQ(group.size(), 1U) << "its frame is still in use";
  blocker.go_on.release();
  co_await group.join();
  ended = true;
}

TEST(IdleWorker, WaitsForWorkThatIsCancelledWhileItRuns) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, kNeverBypassed);
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  bool ended = false;
  ring->run(cancel_running_work(*ring, *idle_worker, ended));
  EXPECT_TRUE(ended);
}

Task<void> under_a_cancelled_scope(Ring& ring, IdleWorker& idle_worker, Log& log) {
  TaskGroup group(ring);
  group.cancel_all();
  group.spawn(work(idle_worker, Rank::kStarted, 1, log));
  co_await group.join();
}

TEST(IdleWorker, BeginsNoWorkUnderACancelledScope) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring);
  Log log;
  ring->run(under_a_cancelled_scope(*ring, *idle_worker, log));
  EXPECT_TRUE(log.done.empty());
  EXPECT_EQ(log.cancelled, std::vector<int>{1});
}

Task<void> run_bypassed(Ring& ring, IdleWorker& idle_worker, Log& log, bool& done_on_ring) {
  TaskGroup group(ring);
  Blocker blocker;
  co_await block_the_thread(ring, group, idle_worker, blocker);
  group.spawn(work(idle_worker, Rank::kNew, 3, log));
  group.spawn(work(idle_worker, Rank::kNew, 4, log));
  group.spawn(work(idle_worker, Rank::kNew, 5, log));
  group.spawn(work(idle_worker, Rank::kResuming, 2, log));
  group.spawn(work(idle_worker, Rank::kStarted, 1, log));
  while (idle_worker.size() < 6) co_await next_iteration(ring);
  // The thread is blocked until all of it is done.
  while (idle_worker.size() > 1) {
    const Result<> slept = co_await sleep_for(ring, 1ms);
    EXPECT_TRUE(slept);
  }
  done_on_ring = true;
  blocker.go_on.release();
  co_await group.join();
}

TEST(IdleWorker, RunsOnTheRingWhenItsThreadMakesNoProgress) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, {.progress_timeout = 1ms, .retry_after = 1h});
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  Log log;
  bool done_on_ring = false;
  ring->run(run_bypassed(*ring, *idle_worker, log, done_on_ring));
  EXPECT_TRUE(done_on_ring);
  EXPECT_EQ(log.done, (std::vector<int>{1, 2, 3, 4, 5}));
}

Task<void> run_bypassed_and_again_on_the_thread(Ring& ring, IdleWorker& idle_worker,
                                                std::thread::id& where) {
  TaskGroup group(ring);
  Log log;
  bool done_on_ring = false;
  co_await run_bypassed(ring, idle_worker, log, done_on_ring);
  do {
    const Result<> ran =
        co_await idle_worker.run(Rank::kStarted, [&where] { where = std::this_thread::get_id(); });
    EXPECT_TRUE(ran);
  } while (where == std::this_thread::get_id());
}

TEST(IdleWorker, UsesItsThreadAgainAfterTheRetryDelay) {
  auto ring = make_ring();
  const auto idle_worker = make_idle_worker(*ring, {.progress_timeout = 1ms, .retry_after = 1ms});
  if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
  std::thread::id where;
  ring->run(run_bypassed_and_again_on_the_thread(*ring, *idle_worker, where));
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

TEST(IdleWorker, LosesNoWorkUnderLoadNorWhileItsThreadIsBypassed) {
  for (const auto progress_timeout : {1h, std::chrono::hours(0)}) {
    auto ring = make_ring();
    const auto idle_worker =
        make_idle_worker(*ring, {.progress_timeout = progress_timeout, .retry_after = 1ms});
    if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
    std::atomic<int> count = 0;
    ring->run(count_with_many(*ring, *idle_worker, count));
    EXPECT_EQ(count, 40 * 50);
  }
}

Task<void> cancel_under_load(Ring& ring, IdleWorker& idle_worker, std::atomic<int>& count) {
  TaskGroup group(ring);
  for (int i = 0; i < 40; ++i) group.spawn(count_many(idle_worker, count, 1'000'000));
  while (count.load(std::memory_order_relaxed) < 500) co_await next_iteration(ring);
  group.cancel_all();
  co_await group.join();
  EXPECT_EQ(idle_worker.size(), 0U);
}

TEST(IdleWorker, CancelsAndStopsWhileWorkIsRunning) {
  for (int i = 0; i < 20; ++i) {
    auto ring = make_ring();
    const auto idle_worker = make_idle_worker(*ring);
    if (!starts(*idle_worker)) GTEST_SKIP() << kNoThread;
    std::atomic<int> count = 0;
    ring->run(cancel_under_load(*ring, *idle_worker, count));
    idle_worker->stop();
  }
}

}  // namespace
}  // namespace sallyport::iouring
