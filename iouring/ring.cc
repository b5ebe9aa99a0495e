#include "iouring/ring.h"

#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "iouring/clock.h"
#include "iouring/faults.h"
#include "iouring/inbox.h"
#include "iouring/operation.h"
#include "iouring/socket_command.h"

namespace sallyport::iouring {

namespace {

// Values of user_data that are no address of an Operation, which is aligned.
constexpr std::uint64_t kIgnored = 0;  // the completion is dropped
constexpr std::uint64_t kWake = 1;

// Static, because the kernel reads it after close_slot() has returned.
constexpr struct linger kReset = {.l_onoff = 1, .l_linger = 0};

void relax_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

class Ring::MainDone final : public TaskDone {
 public:
  [[nodiscard]] bool done() const noexcept { return done_; }
  std::coroutine_handle<> task_done() noexcept override {
    done_ = true;
    return std::noop_coroutine();
  }

 private:
  bool done_ = false;
};

Ring::Ring() noexcept
    : uring_(std::make_unique<::io_uring>()),
      now_(std::chrono::steady_clock::now()),
      timers_(now_) {}

std::expected<std::unique_ptr<Ring>, SetupError> Ring::create(const RingOptions& options) {
  std::unique_ptr<Ring> ring(new Ring());
  const std::expected<void, SetupError> done = ring->set_up(options);
  if (!done) return std::unexpected(done.error());
  ring->batch_.reserve(512);
  ring->busy_poll_ = options.busy_poll;
  if (options.busy_poll.count() == 0) ring->coalescing_ = WakeCoalescing(options.wake_coalescing);
  return ring;
}

Ring::~Ring() {
  invariant(in_flight_ == 0, "a ring outlives its operations", static_cast<long long>(in_flight_));
  invariant(inboxes_.empty(), "a ring outlives its inboxes");
  if (set_up_) io_uring_queue_exit(uring_.get());
  if (wake_descriptor_ >= 0) ::close(wake_descriptor_);
}

void Ring::enable() noexcept {
  if (!enabled_) {
    // io_uring_enable_rings() is declared by liburing 2.3, but not exported.
    const long enabled = ::syscall(__NR_io_uring_register, uring_->ring_fd,
                                   IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    invariant(enabled == 0, "a ring can be enabled", errno);
    enabled_ = true;
    owner_ = ::pthread_self();
  }
  invariant(::pthread_equal(owner_, ::pthread_self()) != 0, "a ring runs on one thread");
  // Saves the lookup of the ring's descriptor in each call, on this thread only. May fail: it is an
  // optimisation.
  io_uring_register_ring_fd(uring_.get());
  clockid_t clock = 0;
  if (::pthread_getcpuclockid(::pthread_self(), &clock) == 0) {
    cpu_start_ns_ = clock_ns(clock);
    cpu_clock_ = clock;
  }
  now_ = wait_ended_ = std::chrono::steady_clock::now();
}

void Ring::disable_thread() noexcept {
  io_uring_unregister_ring_fd(uring_.get());
  const clockid_t clock = cpu_clock_.exchange(0);
  if (clock != 0) cpu_ns_ += clock_ns(clock, cpu_start_ns_) - cpu_start_ns_;
}

void Ring::run(Task<void> main) {
  enable();
  {
    MainDone ended;
    Task<void> root = std::move(main);  // destroyed, arguments too, before the last submission
    root.start(nullptr, ended);
    while (!ended.done()) iterate();
  }
  if (io_uring_sq_ready(uring_.get()) > 0) flush();  // closes of table slots
  disable_thread();
}

void Ring::iterate() noexcept {
#ifdef SALLYPORT_FAULTS
  const bool delayed = !delayed_.empty();
#else
  const bool delayed = false;
#endif
  enter(ready_.empty() && !delayed);
  ++iterations_;
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    const Completion completion =
        batch_[i];  // a copy: a full submission queue may add to the batch
    dispatch(completion);
  }
  batch_.clear();
  deliver_delayed();
  timers_.advance(now_);
  run_ready();
}

void Ring::enter(bool wait) noexcept {
  int entered = 0;
  unsigned wanted = 1;
  TimePoint before = {};
  const bool waits = wait && !busy_poll();
  if (waits) {
    before = std::chrono::steady_clock::now();
    wanted = coalescing_.wanted(in_flight_);
    std::optional<std::chrono::nanoseconds> longest;
    if (const std::optional<TimePoint> next = timers_.next())
      longest = std::max<std::chrono::nanoseconds>(*next - before, {});
    if (wanted > 1)
      longest = std::min(longest.value_or(coalescing_.longest()), coalescing_.longest());
    struct __kernel_timespec timeout = {};
    if (longest) {
      timeout.tv_sec = longest->count() / 1'000'000'000;
      timeout.tv_nsec = longest->count() % 1'000'000'000;
    }
    struct io_uring_cqe* first = nullptr;
    entered = io_uring_submit_and_wait_timeout(uring_.get(), &first, wanted,
                                               longest ? &timeout : nullptr, nullptr);
    end_wait(before);
  } else {
    entered = io_uring_submit_and_get_events(uring_.get());
    now_ = std::chrono::steady_clock::now();
  }
  // EBUSY and EAGAIN: completions overflowed, or memory is short at the moment. What was not
  // submitted stays queued for the next iteration.
  invariant(entered >= 0 || entered == -ETIME || entered == -EINTR || entered == -EBUSY ||
                entered == -EAGAIN || entered == -ENOMEM,
            "io_uring_enter succeeds", entered);
  const unsigned completions = reap();
  if (waits) coalescing_.ended(wanted, completions, before - std::exchange(wait_began_, before));
}

void Ring::end_wait(TimePoint began) noexcept {
  outside_wait_ns_.fetch_add(std::chrono::nanoseconds(began - wait_ended_).count(),
                             std::memory_order_relaxed);
  now_ = wait_ended_ = std::chrono::steady_clock::now();
}

// Polls until there is something to do (true) or the time is up (false); false at once when busy
// polling is off. The kernel sets IORING_SQ_TASKRUN when it has completion work for this thread
// (IORING_SETUP_TASKRUN_FLAG), so that polling needs no system call.
bool Ring::busy_poll() noexcept {
  if (busy_poll_.count() == 0 || busy_poll_suspended_) return false;
  if (io_uring_sq_ready(uring_.get()) > 0) flush();
  const TimePoint began = std::chrono::steady_clock::now();
  const TimePoint until = std::min(began + busy_poll_, timers_.next().value_or(TimePoint::max()));
  const auto anything_to_do = [this] {
    constexpr unsigned kKernelHasWork = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    return io_uring_cq_ready(uring_.get()) > 0 ||
           (std::atomic_ref(*uring_->sq.kflags).load(std::memory_order_relaxed) & kKernelHasWork) !=
               0 ||
           !batch_.empty();
  };
  bool found = anything_to_do();
  while (!found && std::chrono::steady_clock::now() < until) {
    for (int i = 0; i < 16 && !found; ++i) {
      relax_cpu();
      found = anything_to_do();
    }
  }
  end_wait(began);
  polled_ns_.fetch_add(std::chrono::nanoseconds(wait_ended_ - began).count(),
                       std::memory_order_relaxed);
  return found;
}

unsigned Ring::reap() noexcept {
  unsigned head = 0;
  unsigned count = 0;
  struct io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(uring_.get(), head, cqe) {
    batch_.push_back({cqe->user_data, cqe->res, cqe->flags});
    ++count;
  }
  io_uring_cq_advance(uring_.get(), count);
  return count;
}

// Completions that are reaped to make room wait in the batch for the next dispatch.
void Ring::flush() noexcept {
  invariant(enabled_, "what is submitted before run() fits into the submission queue");
  int submitted = io_uring_submit(uring_.get());
  while (submitted < 0) {
    invariant(
        submitted == -EBUSY || submitted == -EAGAIN || submitted == -EINTR || submitted == -ENOMEM,
        "io_uring_enter succeeds", submitted);
    io_uring_get_events(uring_.get());
    reap();
    submitted = io_uring_submit(uring_.get());
  }
}

io_uring_sqe& Ring::take_sqe(unsigned count) noexcept {
  while (io_uring_sq_space_left(uring_.get()) < count) flush();
  io_uring_sqe* sqe = io_uring_get_sqe(uring_.get());
  std::memset(sqe, 0, sizeof *sqe);
  return *sqe;
}

void Ring::submit(Operation& operation, io_uring_sqe& sqe) noexcept {
  sqe.user_data = reinterpret_cast<std::uint64_t>(&operation);
  ++in_flight_;
#ifdef SALLYPORT_FAULTS
  if (faults_ != nullptr) faults_->on_submit(sqe);
#endif
}

void Ring::submit_cancel(Operation& operation) noexcept {
  io_uring_sqe& sqe = take_sqe();
  io_uring_prep_cancel(&sqe, &operation, 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = kIgnored;
}

void Ring::close_slot(int slot, bool abortive) noexcept {
  io_uring_sqe& first = take_sqe(abortive ? 2 : 1);
  io_uring_sqe* close = &first;
  if (abortive) {
    prepare_socket_option(first, kSetSockOpt, SOL_SOCKET, SO_LINGER, &kReset, sizeof kReset);
    first.flags = IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS;
    first.fd = slot;
    first.user_data = kIgnored;
    close = &take_sqe();
  }
  io_uring_prep_close_direct(close, static_cast<unsigned>(slot));
  close->flags |= IOSQE_CQE_SKIP_SUCCESS;
  close->user_data = kIgnored;
  slot_freed();
}

void Ring::dispatch(const Completion& completion) noexcept {
  if (completion.user_data == kIgnored) return;
  if (completion.user_data == kWake) {
    on_wake(completion.flags);
    return;
  }
#ifdef SALLYPORT_FAULTS
  if (faults_ != nullptr) {
    Completion changed = completion;
    const unsigned delay = faults_->on_completion(changed.user_data, changed.result, changed.flags);
    if (delay > 0)
      delayed_.push_back({changed, iterations_ + delay});
    else
      deliver(changed);
    return;
  }
#endif
  deliver(completion);
}

void Ring::deliver(const Completion& completion) noexcept {
  if ((completion.flags & IORING_CQE_F_MORE) == 0) --in_flight_;
  reinterpret_cast<Operation*>(completion.user_data)
      ->take_completion(completion.result, completion.flags);
}

void Ring::deliver_delayed() noexcept {
#ifdef SALLYPORT_FAULTS
  std::vector<Completion> due;
  std::erase_if(delayed_, [&](const Delayed& delayed) {
    if (delayed.iteration > iterations_) return false;
    due.push_back(delayed.completion);
    return true;
  });
  for (const Completion& completion : due) deliver(completion);
#endif
}

// What becomes ready from here on waits for the next iteration, so that completions are never
// starved.
void Ring::run_ready() noexcept {
  List<Waiter> now;
  now.splice_back(ready_);
  while (!now.empty()) now.pop_front().on_ready();
}

std::chrono::nanoseconds Ring::busy_time() const noexcept {
  std::int64_t cpu = cpu_ns_;
  if (const clockid_t clock = cpu_clock_; clock != 0) {
    const std::int64_t start = cpu_start_ns_;
    cpu += clock_ns(clock, start) - start;
  }
  cpu -= polled_ns_.load(std::memory_order_relaxed);
  const std::int64_t busy = std::max(cpu, outside_wait_ns_.load(std::memory_order_relaxed));
  std::int64_t last = busy_ns_;
  while (last < busy && !busy_ns_.compare_exchange_weak(last, busy)) {
  }
  return std::chrono::nanoseconds(std::max(last, busy));
}

Result<int> Ring::wake_descriptor() noexcept {
  if (wake_descriptor_ < 0) {
    wake_descriptor_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_descriptor_ < 0) return failure(errno);
    poll_wake_descriptor();
  }
  return wake_descriptor_;
}

void Ring::poll_wake_descriptor() noexcept {
  io_uring_sqe& sqe = take_sqe();
  io_uring_prep_poll_multishot(&sqe, wake_descriptor_, POLLIN);
  sqe.user_data = kWake;
}

void Ring::on_wake(unsigned flags) noexcept {
  // The counter is reset before the inboxes are emptied: a message posted after that wakes again.
  std::uint64_t wakes = 0;
  [[maybe_unused]] const ssize_t read = ::read(wake_descriptor_, &wakes, sizeof wakes);
  if ((flags & IORING_CQE_F_MORE) == 0) poll_wake_descriptor();
  for (std::size_t i = 0; i < inboxes_.size(); ++i) inboxes_[i]->run_posted();
}

void Ring::add_inbox(Inbox& inbox) {
  inboxes_.push_back(&inbox);
}

void Ring::remove_inbox(Inbox& inbox) noexcept {
  std::erase(inboxes_, &inbox);
}

#ifdef SALLYPORT_FAULTS
void Ring::set_faults(FaultPlan* plan) noexcept {
  invariant(faults_ == nullptr || faults_->pending_.empty(),
            "a fault plan stays while operations that it changed are in flight");
  faults_ = plan;
}
#endif

}  // namespace sallyport::iouring
