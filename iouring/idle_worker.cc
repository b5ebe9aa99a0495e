#include "iouring/idle_worker.h"

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "iouring/clock.h"
#include "iouring/invariant.h"

namespace sallyport::iouring {

namespace {

// The time that the ring's thread spends on work in one loop iteration while quiet; it does at
// least one piece.
constexpr std::chrono::microseconds kQuietBudget{1'000};
// Pieces of kResuming and kNew in one loop iteration while quiet: what was begun and waited for
// something comes back in the next one and goes first, so that not all is under way at a time.
// Fewer would leave the peers idle between two iterations, and waking them is expensive
// (bench/README.md).
constexpr unsigned kMostBegun = 8;
// Pieces of rank kResuming before one of kNew.
constexpr unsigned kMaxResumingInARow = 3;
// The largest nice value: there is none to return from.
constexpr int kNicest = 19;
// The delay before the thread is used again doubles while its core stays busy, up to this.
constexpr std::chrono::milliseconds kMaxRetryDelay = std::chrono::minutes(1);

// Whether the kernel lets a thread leave SCHED_IDLE. That takes the right that it takes to return
// to a nice value (can_nice() in the kernel), which is tried instead: a thread that could not
// return ends at once, where one in SCHED_IDLE would not for as long as others keep the CPU busy,
// and keep the whole process from its end.
bool may_leave_sched_idle() {
  bool returned = false;
  std::thread([&returned] {
    const int nice = ::getpriority(PRIO_PROCESS, 0);  // in Linux of the thread, not the process
    returned = nice < kNicest && ::setpriority(PRIO_PROCESS, 0, nice + 1) == 0 &&
               ::setpriority(PRIO_PROCESS, 0, nice) == 0;
  }).join();
  return returned;
}

}  // namespace

Result<std::unique_ptr<IdleWorker>> IdleWorker::create(Ring& ring, const Options& options) {
  std::unique_ptr<IdleWorker> idle_worker(new IdleWorker(ring, options));
  Result<std::unique_ptr<Inbox>> inbox = Inbox::create(ring);
  if (!inbox) return failure(inbox.error().value);
  idle_worker->inbox_ = *std::move(inbox);
  return idle_worker;
}

IdleWorker::~IdleWorker() {
  stop();
  ready_hook_.unlink();
}

Result<> IdleWorker::start(const std::string& name) {
  invariant(!thread_.joinable(), "an idle worker is started once");
  try {
    if (!may_leave_sched_idle()) return failure(EPERM);
    // Its name from within: from outside it is a file of /proc, which a confined process cannot
    // write.
    thread_ = std::thread([this, name] {
      pthread_setname_np(pthread_self(), name.c_str());
      thread_main();
    });
  } catch (const std::system_error& error) {
    return failure(error.code().value());
  }
  // To SCHED_IDLE, back, and to it again: by what else may forbid it.
  if (set_scheduling_class(SCHED_IDLE) && set_scheduling_class(SCHED_OTHER) &&
      set_scheduling_class(SCHED_IDLE))
    return {};
  stop();
  return failure(EPERM);
}

bool IdleWorker::set_scheduling_class(int scheduling_class) noexcept {
  const struct sched_param none = {};
  return pthread_setschedparam(thread_.native_handle(), scheduling_class, &none) == 0;
}

void IdleWorker::stop() noexcept {
  invariant(size_ == 0, "the work of an idle worker ends before its thread",
            static_cast<long long>(size_));
  if (!thread_.joinable()) return;
  set_scheduling_class(SCHED_OTHER);  // so that it ends now
  stopping_.store(true, std::memory_order_relaxed);
  offered_.fetch_add(1, std::memory_order_release);  // an empty slot, which wakes the thread
  offered_.notify_one();
  thread_.join();
}

// ---- the ring's thread. How it shares work with the worker's thread is checked in all states by
// tests/models/idle_worker.pml, step by step: a change here is a change there.

void IdleWorker::set_quiet(bool quiet) noexcept {
  quiet_ = quiet;
  if (quiet && queued_ > 0) schedule_run_on_ring();
}

void IdleWorker::enqueue(Work& work) noexcept {
  queues_[static_cast<std::size_t>(work.rank_)].push_back(work.queue_node_);
  ++queued_;
  if (size_++ == 0) ring_->suspend_busy_poll(true);
  if (runs_on_ring())
    schedule_run_on_ring();
  else
    offer();
}

IdleWorker::Work* IdleWorker::next() noexcept {
  if (queued_ == 0) return nullptr;
  List<QueueNode>& started = queues_[static_cast<std::size_t>(Rank::kStarted)];
  List<QueueNode>& resuming = queues_[static_cast<std::size_t>(Rank::kResuming)];
  List<QueueNode>& fresh = queues_[static_cast<std::size_t>(Rank::kNew)];
  --queued_;
  if (!started.empty()) return started.pop_front().work;
  if (!resuming.empty() && (fresh.empty() || resuming_in_a_row_ < kMaxResumingInARow)) {
    ++resuming_in_a_row_;
    return resuming.pop_front().work;
  }
  resuming_in_a_row_ = 0;
  return fresh.pop_front().work;
}

void IdleWorker::offer() noexcept {
  std::uint32_t position = offered_.load(std::memory_order_relaxed);
  const std::uint32_t before = position;
  while (position - taken_.load(std::memory_order_acquire) < kOffers) {
    Work* const work = next();
    if (work == nullptr) break;
    work->position_ = position;
    offered_work_[position % kOffers] = work;
    slots_[position % kOffers].store(work, std::memory_order_relaxed);
    ++position;
  }
  if (position != before) {
    offered_.store(position, std::memory_order_release);
    offered_.notify_one();
  }
  if (size_ > 0 && !progress_timer_.armed()) {
    last_progress_ = progress();
    arm_progress_timer();
  }
}

std::uint32_t IdleWorker::progress() const noexcept {
  return taken_.load(std::memory_order_acquire) + passed_.load(std::memory_order_acquire);
}

bool IdleWorker::withdraw(Work& work) noexcept {
  const std::size_t slot = work.position_ % kOffers;
  if (offered_work_[slot] != &work) return false;
  Work* expected = &work;
  const bool withdrawn = slots_[slot].compare_exchange_strong(
      expected, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed);
  if (withdrawn) offered_work_[slot] = nullptr;
  return withdrawn;
}

bool IdleWorker::remove(Work& work) noexcept {
  if (work.queue_node_.linked()) {
    work.queue_node_.unlink();
    --queued_;
    return true;
  }
  return withdraw(work);
}

void IdleWorker::collect() noexcept {
  collect_posted_.exchange(false, std::memory_order_acq_rel);
  Work* newest = done_.exchange(nullptr, std::memory_order_acquire);
  Work* oldest = nullptr;
  while (newest != nullptr) {
    Work* const next = std::exchange(newest->next_done_, oldest);
    oldest = std::exchange(newest, next);
  }
  while (oldest != nullptr) {
    Work& work = *std::exchange(oldest, oldest->next_done_);
    Work*& offered = offered_work_[work.position_ % kOffers];
    if (offered == &work) offered = nullptr;
    work.complete();
  }
  if (boosted_ && set_scheduling_class(SCHED_IDLE)) boosted_ = false;
  if (!runs_on_ring()) offer();
}

void IdleWorker::check_progress() noexcept {
  // Without anything that is expected of the thread; offer() arms the timer again.
  if (size_ == 0 || (runs_on_ring() && size_ == queued_)) return;
  if (const std::uint32_t now = progress(); !bypassed_ && now != last_progress_) {
    last_progress_ = now;
    arm_progress_timer();
    return;
  }
  if (!bypassed_) {
    bypassed_ = true;
    retry_delay_ = ring_->now() - retry_at_ > 8 * retry_delay_
                       ? options_.retry_after
                       : std::min(2 * retry_delay_, kMaxRetryDelay);
    retry_at_ = ring_->now() + retry_delay_;
  }
  // From the latest to the earliest, because each becomes the first of its queue.
  for (std::uint32_t position = offered_.load(std::memory_order_relaxed), i = 0; i < kOffers; ++i) {
    Work* const work = offered_work_[--position % kOffers];
    if (work == nullptr || !withdraw(*work)) continue;
    queues_[static_cast<std::size_t>(work->rank_)].push_front(work->queue_node_);
    ++queued_;
  }
  // What is not in the queue now has been begun, although taken_ may not say so yet. The timer
  // stays armed for it, because an earlier collect() may end the boost too soon.
  if (size_ > queued_) {
    boosted_ = set_scheduling_class(SCHED_OTHER);
    arm_progress_timer();
  }
  schedule_run_on_ring();
}

void IdleWorker::arm_progress_timer() noexcept {
  ring_->timers().arm(progress_timer_, ring_->now() + options_.progress_timeout);
}

void IdleWorker::schedule_run_on_ring() noexcept {
  if (!ready_hook_.linked()) ring_->make_ready(ready_hook_);
}

void IdleWorker::run_on_ring() noexcept {
  if (bypassed_ && ring_->now() >= retry_at_) bypassed_ = false;
  if (!runs_on_ring()) {
    offer();
    return;
  }
  // What this iteration sends is submitted first, unless a delay does no harm.
  if (!quiet_ && io_uring_sq_ready(&ring_->raw()) > 0) ring_->flush();
  const TimePoint until = std::chrono::steady_clock::now() + kQuietBudget;
  unsigned begun = 0;
  while (Work* const work = next()) {
    work->execute();
    work->ran_ = true;
    if (work->rank_ != Rank::kStarted) ++begun;
    work->leave();
    // At once, so that its next piece, which goes first, finds its data in the cache.
    work->awaiting_.resume();
    if (!quiet_ || begun == kMostBegun || std::chrono::steady_clock::now() >= until) break;
  }
  if (queued_ > 0) schedule_run_on_ring();
}

// ---- the worker's thread

void IdleWorker::thread_main() noexcept {
  std::uint32_t taken = 0;
  bool any_passed = false;
  for (;;) {
    if (taken == offered_.load(std::memory_order_acquire)) {
      report(std::exchange(any_passed, false));
      offered_.wait(taken, std::memory_order_acquire);
      continue;
    }
    Work* const work = slots_[taken % kOffers].exchange(nullptr, std::memory_order_acq_rel);
    taken_.store(++taken, std::memory_order_release);
    any_passed = true;  // done or withdrawn: either way a slot is free for another offer
    if (work == nullptr) {
      if (stopping_.load(std::memory_order_relaxed)) break;
      passed_.store(taken, std::memory_order_release);
      continue;
    }
    work->execute();
    work->ran_ = true;
    Work* before = done_.load(std::memory_order_relaxed);
    do {
      work->next_done_ = before;
    } while (!done_.compare_exchange_weak(before, work, std::memory_order_release,
                                          std::memory_order_relaxed));
    // From here on the ring's thread may have destroyed the work.
    passed_.store(taken, std::memory_order_release);
  }
  report(false);
}

// Called when out of work: one message to the ring for all that was done meanwhile.
void IdleWorker::report(bool any_passed) noexcept {
  cpu_ns_.store(clock_ns(CLOCK_THREAD_CPUTIME_ID, cpu_ns_.load(std::memory_order_relaxed)),
                std::memory_order_relaxed);
  if (!any_passed || collect_posted_.exchange(true, std::memory_order_acq_rel)) return;
  inbox_->post([this] { collect(); });
}

// ---- a piece of work

bool IdleWorker::Work::begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept {
  if (scope != nullptr) {
    if (scope->cancelled()) return false;
    scope->add(*this);
  }
  awaiting_ = awaiting;
  idle_worker_->enqueue(*this);
  return true;
}

void IdleWorker::Work::leave() noexcept {
  if (--idle_worker_->size_ == 0) idle_worker_->ring_->suspend_busy_poll(false);
  static_cast<ListNode&>(*this).unlink();  // from its scope
}

void IdleWorker::Work::complete() noexcept {
  leave();
  idle_worker_->ring_->make_ready(*this);
}

void IdleWorker::Work::on_cancel() noexcept {
  if (idle_worker_->remove(*this)) complete();
}

Result<> IdleWorker::Work::await_resume() const noexcept {
  if (!ran_) return failure(ECANCELED);
  return {};
}

}  // namespace sallyport::iouring
