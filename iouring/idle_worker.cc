#include "iouring/idle_worker.h"

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>

#include "iouring/invariant.h"

namespace sallyport::iouring {

namespace {

// What the ring's thread does of it in one turn while nobody suffers, at least one piece.
constexpr std::chrono::microseconds kQuietBudget{500};
// Of the second rank, before one of the third.
constexpr unsigned kMostFavoured = 3;
// A core that was busy again and again is not tried often.
constexpr std::chrono::milliseconds kMostHold = std::chrono::minutes(1);

// Whether it is worth to ask the kernel for a way back from SCHED_IDLE. It has the last word.
bool may_come_back() noexcept {
  struct rlimit limit = {};
  return ::geteuid() == 0 ||
         (::getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= kNiceLimit);
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
  turn_.unlink();
}

Result<> IdleWorker::start(const std::string& name) {
  invariant(!thread_.joinable(), "an idle worker is started once");
  if (!may_come_back()) return failure(EPERM);
  try {
    thread_ = std::thread([this] { thread_main(); });
  } catch (const std::system_error& error) {
    return failure(error.code().value());
  }
  pthread_setname_np(thread_.native_handle(), name.c_str());
  // There, back, and there again: who cannot come back would be stuck, to the end of the process.
  if (set_class(SCHED_IDLE) && set_class(SCHED_OTHER) && set_class(SCHED_IDLE)) return {};
  stop();
  return failure(EPERM);
}

bool IdleWorker::set_class(int scheduling_class) noexcept {
  const struct sched_param none = {};
  return pthread_setschedparam(thread_.native_handle(), scheduling_class, &none) == 0;
}

void IdleWorker::stop() noexcept {
  invariant(size_ == 0, "the work of an idle worker ends before its thread",
            static_cast<long long>(size_));
  if (!thread_.joinable()) return;
  set_class(SCHED_OTHER);  // it shall end now
  stopping_.store(true, std::memory_order_relaxed);
  offered_.fetch_add(1, std::memory_order_release);  // an empty slot, to be looked at
  offered_.notify_one();
  thread_.join();
}

// ---- the ring's thread

void IdleWorker::enqueue(Work& work) noexcept {
  queues_[static_cast<std::size_t>(work.rank_)].push_back(work.place_);
  ++queued_;
  if (size_++ == 0) ring_->share_cpu(true);
  if (here())
    come_back_next_turn();
  else
    offer();
}

IdleWorker::Work* IdleWorker::next() noexcept {
  if (queued_ == 0) return nullptr;
  List<Place>& first = queues_[0];
  List<Place>& second = queues_[1];
  List<Place>& third = queues_[2];
  --queued_;
  if (!first.empty()) return first.pop_front().work;
  if (!second.empty() && (third.empty() || favoured_ < kMostFavoured)) {
    ++favoured_;
    return second.pop_front().work;
  }
  favoured_ = 0;
  return third.pop_front().work;
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
  if (size_ > 0 && !watch_.armed()) {
    seen_ = progress();
    ring_->timers().arm(watch_, ring_->now() + options_.patience);
  }
}

std::uint32_t IdleWorker::progress() const noexcept {
  return taken_.load(std::memory_order_acquire) + passed_by_.load(std::memory_order_acquire);
}

bool IdleWorker::withdraw(Work& work) noexcept {
  const std::size_t slot = work.position_ % kOffers;
  if (offered_work_[slot] != &work) return false;
  Work* expected = &work;
  const bool back = slots_[slot].compare_exchange_strong(
      expected, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed);
  if (back) offered_work_[slot] = nullptr;
  return back;
}

bool IdleWorker::take_out(Work& work) noexcept {
  if (work.place_.linked()) {
    work.place_.unlink();
    --queued_;
    return true;
  }
  return withdraw(work);
}

void IdleWorker::collect() noexcept {
  rung_.exchange(false, std::memory_order_acq_rel);
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
    work.goes_on();
  }
  if (hurried_ && set_class(SCHED_IDLE)) hurried_ = false;
  if (!here()) offer();
}

void IdleWorker::look_after_the_thread() noexcept {
  if (took_over_ || size_ == 0) return;
  const std::uint32_t passed_by = passed_by_.load(std::memory_order_acquire);
  const bool done = done_.load(std::memory_order_relaxed) != nullptr;  // and not told
  const bool nothing_to_do = passed_by == offered_.load(std::memory_order_relaxed) && !done;
  if (const std::uint32_t now = progress(); now != seen_ || nothing_to_do) {
    seen_ = now;
    ring_->timers().arm(watch_, ring_->now() + options_.patience);
    return;
  }
  took_over_ = true;
  hold_ = ring_->now() - retry_at_ > 8 * hold_ ? options_.retry : std::min(2 * hold_, kMostHold);
  retry_at_ = ring_->now() + hold_;
  if (passed_by != taken_.load(std::memory_order_relaxed) || done)
    hurried_ = set_class(SCHED_OTHER);
  // The latest first, for each becomes the first of its queue.
  for (std::uint32_t position = offered_.load(std::memory_order_relaxed), i = 0; i < kOffers; ++i) {
    Work* const work = offered_work_[--position % kOffers];
    if (work == nullptr || !withdraw(*work)) continue;
    queues_[static_cast<std::size_t>(work->rank_)].push_front(work->place_);
    ++queued_;
  }
  come_back_next_turn();
}

void IdleWorker::come_back_next_turn() noexcept {
  if (!turn_.linked()) ring_->make_ready(turn_);
}

void IdleWorker::work_here() noexcept {
  if (took_over_ && ring_->now() >= retry_at_) took_over_ = false;
  if (!here()) {
    offer();
    return;
  }
  // What this turn has to send goes first, if there is anybody who would mind.
  if (!quiet_ && io_uring_sq_ready(&ring_->raw()) > 0) ring_->flush();
  const TimePoint until = std::chrono::steady_clock::now() + kQuietBudget;
  while (Work* const work = next()) {
    work->execute();
    work->ran_ = true;
    work->goes_on();
    if (!quiet_ || std::chrono::steady_clock::now() >= until) break;
  }
  if (queued_ > 0) come_back_next_turn();
}

// ---- the other thread

void IdleWorker::thread_main() noexcept {
  std::uint32_t taken = 0;
  bool news = false;
  for (;;) {
    if (taken == offered_.load(std::memory_order_acquire)) {
      report(std::exchange(news, false));
      offered_.wait(taken, std::memory_order_acquire);
      continue;
    }
    Work* const work = slots_[taken % kOffers].exchange(nullptr, std::memory_order_acq_rel);
    taken_.store(++taken, std::memory_order_release);
    news = true;  // a piece that is done, or one that was withdrawn: there is room for another
    if (work == nullptr) {
      if (stopping_.load(std::memory_order_relaxed)) break;
      passed_by_.store(taken, std::memory_order_release);
      continue;
    }
    work->execute();
    work->ran_ = true;
    Work* before = done_.load(std::memory_order_relaxed);
    do {
      work->next_done_ = before;
    } while (!done_.compare_exchange_weak(before, work, std::memory_order_release,
                                          std::memory_order_relaxed));
    // From here on the work may be gone.
    passed_by_.store(taken, std::memory_order_release);
  }
  report(false);
}

// Out of work: what has been done is told now, several pieces at once.
void IdleWorker::report(bool ring_the_bell) noexcept {
  struct timespec time = {};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) {
    cpu_ns_.store(std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec,
                  std::memory_order_relaxed);
  }
  if (!ring_the_bell || rung_.exchange(true, std::memory_order_acq_rel)) return;
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

void IdleWorker::Work::goes_on() noexcept {
  if (--idle_worker_->size_ == 0) idle_worker_->ring_->share_cpu(false);
  static_cast<ListNode&>(*this).unlink();  // from its scope
  idle_worker_->ring_->make_ready(*this);
}

void IdleWorker::Work::on_cancel() noexcept {
  if (idle_worker_->take_out(*this)) goes_on();
}

Result<> IdleWorker::Work::await_resume() const noexcept {
  if (!ran_) return failure(ECANCELED);
  return {};
}

}  // namespace sallyport::iouring
