#pragma once
// CPU-bound work beside a ring, done at idle priority: while the ring's own thread has nothing to
// do.
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "iouring/cancel.h"
#include "iouring/inbox.h"
#include "iouring/list.h"
#include "iouring/result.h"
#include "iouring/ring.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"

namespace sallyport::iouring {

/// The order of service; by arrival within a rank. kStarted is for the later steps of what has
/// begun, kResuming for new work that is short or claims to be, kNew for the rest. So that
/// kResuming cannot starve kNew, every fourth piece of work of those two is one of kNew.
enum class Rank : std::uint8_t { kStarted, kResuming, kNew };

/// The RLIMIT_NICE with which a thread without CAP_SYS_NICE may return from SCHED_IDLE, which the
/// kernel counts as nice 20, to nice 0 (getrlimit(2), sched(7)).
inline constexpr unsigned long kNiceLimit = 20;

/// A queue of work and a thread under SCHED_IDLE (sched(7)) that does it. The kernel preempts such
/// a thread as soon as the ring's thread, on the same CPU, becomes runnable, also in the middle of
/// a piece of work; a nice value would not do that (EEVDF lets a slice end).
///
/// The cost: any other load on that CPU, the ring's own thread included, can keep this thread from
/// running, for seconds in the worst case, and a signature that is half done cannot be taken back.
/// So there is a thread only if it may return to SCHED_OTHER, which takes CAP_SYS_NICE (in the
/// first user namespace) or an RLIMIT_NICE of 20. When the thread neither begins nor ends a piece
/// of work for `progress_timeout`, it is bypassed: the ring's thread takes back the work that was
/// not begun and does one piece per loop iteration, after it has submitted what that iteration
/// sends; the work that was begun is ended under SCHED_OTHER. The thread is used again after
/// `retry_after`, or after twice as long as last time if it was bypassed again soon. A worker
/// without a thread also does one piece per iteration on the ring's thread; a quiet one does a
/// millisecond of them, and begins at most eight of kResuming and kNew.
///
/// The ring's thread never waits for the worker's thread. (Except within what both call: a lock of
/// an allocator or a library, held by the thread when it was preempted, is waited for.)
///
/// Belongs to the ring's thread, except for the work itself. Outlives the tasks that use it.
class IdleWorker {
 public:
  struct Options {
    std::chrono::milliseconds progress_timeout{20};  ///< coarse, as TimerWheel is
    std::chrono::milliseconds retry_after{1000};
  };

  /// Errors: EMFILE, ENFILE (no descriptor for the eventfd). The ring may not run yet.
  [[nodiscard]] static Result<std::unique_ptr<IdleWorker>> create(Ring& ring,
                                                                  const Options& options);
  IdleWorker(const IdleWorker&) = delete;
  IdleWorker& operator=(const IdleWorker&) = delete;
  /// All work must have ended (aborts else). Ends the thread.
  ~IdleWorker();

  /// Starts the thread, named `name` (15 characters); it inherits the caller's CPU affinity and
  /// signal mask. Errors: EAGAIN (no thread), EPERM (the change to SCHED_IDLE or the one back is
  /// forbidden); work is then done on the ring's thread.
  [[nodiscard]] Result<> start(const std::string& name);
  /// Ends the thread. All work must have ended.
  void stop() noexcept;

  /// `Result<> ran = co_await idle_worker.run(rank, [&] { ... });`: calls the function once, on
  /// one of the two threads; each runs one at a time. It must not throw, nor touch what belongs to
  /// the ring's thread. ECANCELED when the caller's scope was cancelled before the function began;
  /// once it has begun it is waited for.
  template <std::invocable F>
  class Run;
  template <std::invocable F>
  [[nodiscard]] Run<F> run(Rank rank, F function) noexcept;

  /// Quiet: the ring's thread has nothing that a delay would harm, so it does the work itself,
  /// except what was already offered to the worker's thread.
  void set_quiet(bool quiet) noexcept;

  /// CPU time of the worker's thread, updated whenever it runs out of work. Any thread.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const noexcept {
    return std::chrono::nanoseconds(cpu_ns_.load(std::memory_order_relaxed));
  }
  /// Pieces of work that were queued and are not complete.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// One piece of work, in the frame that awaits it.
  class Work;

 private:
  // Pieces of work offered to the thread in advance, so that it finds the next one without a round
  // trip. Only two, because urgent work that comes later waits behind all that were offered.
  static constexpr std::uint32_t kOffers = 2;

  struct QueueNode : ListNode {
    explicit QueueNode(Work& owner) noexcept : work(&owner) {}
    Work* work;
  };
  class ProgressTimer final : public Timer {
   public:
    explicit ProgressTimer(IdleWorker& owner) noexcept : owner_(&owner) {}
    void on_expiry() noexcept override { owner_->check_progress(); }

   private:
    IdleWorker* owner_;
  };
  class ReadyHook final : public Waiter {
   public:
    explicit ReadyHook(IdleWorker& owner) noexcept : owner_(&owner) {}
    void on_cancel() noexcept override {}
    void on_ready() noexcept override { owner_->run_on_ring(); }

   private:
    IdleWorker* owner_;
  };

  IdleWorker(Ring& ring, const Options& options) noexcept
      : ring_(&ring), options_(options), retry_delay_(options.retry_after) {}

  // The ring's thread.
  void enqueue(Work& work) noexcept;
  /// False: it was begun, and collect() will complete it.
  [[nodiscard]] bool remove(Work& work) noexcept;
  [[nodiscard]] Work* next() noexcept;
  void offer() noexcept;
  [[nodiscard]] std::uint32_t progress() const noexcept;
  [[nodiscard]] bool withdraw(Work& work) noexcept;
  void collect() noexcept;
  void check_progress() noexcept;
  void arm_progress_timer() noexcept;
  bool set_scheduling_class(int scheduling_class) noexcept;
  void run_on_ring() noexcept;
  void schedule_run_on_ring() noexcept;
  // Whether work is done on the ring's thread for now.
  [[nodiscard]] bool runs_on_ring() const noexcept {
    return !thread_.joinable() || bypassed_ || quiet_;
  }

  // The worker's thread.
  void thread_main() noexcept;
  void report(bool any_passed) noexcept;

  Ring* ring_;
  Options options_;
  std::array<List<QueueNode>, 3> queues_;
  std::size_t queued_ = 0;
  std::size_t size_ = 0;
  unsigned resuming_in_a_row_ = 0;  // kResuming since the last of kNew
  std::array<Work*, kOffers> offered_work_{};
  bool quiet_ = false;
  bool bypassed_ = false;
  bool boosted_ = false;  // the thread is under SCHED_OTHER until it has ended what it began
  std::chrono::milliseconds retry_delay_;
  TimePoint retry_at_{};  // while bypassed: when to use the thread again; else when that was
  std::uint32_t last_progress_ = 0;
  ProgressTimer progress_timer_{*this};
  ReadyHook ready_hook_{*this};
  std::unique_ptr<Inbox> inbox_;
  std::thread thread_;

  // Shared by the two threads. Positions count up; the slot of a position is its remainder by
  // kOffers. An empty slot of a position below offered_ means that the work was withdrawn.
  std::array<std::atomic<Work*>, kOffers> slots_{};
  std::atomic<std::uint32_t> offered_ = 0;    // positions offered; written by the ring's thread
  std::atomic<std::uint32_t> taken_ = 0;      // positions taken; written by the worker's thread
  std::atomic<std::uint32_t> passed_ = 0;     // of those taken: done, or found empty; likewise
  std::atomic<Work*> done_ = nullptr;         // newest first
  std::atomic<bool> collect_posted_ = false;  // collect() was posted and has not run
  std::atomic<bool> stopping_ = false;
  std::atomic<std::int64_t> cpu_ns_ = 0;
};

class IdleWorker::Work : private Waiter {
 public:
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> awaiting) noexcept {
    return begin(awaiting, scope_of(awaiting));
  }
  Result<> await_resume() const noexcept;

 protected:
  Work(IdleWorker& idle_worker, Rank rank) noexcept : idle_worker_(&idle_worker), rank_(rank) {}
  ~Work() = default;
  virtual void execute() noexcept = 0;

 private:
  friend class IdleWorker;
  bool begin(std::coroutine_handle<> awaiting, CancelScope* scope) noexcept;
  void leave() noexcept;
  void complete() noexcept;
  void on_cancel() noexcept override;
  void on_ready() noexcept override { awaiting_.resume(); }

  IdleWorker* idle_worker_;
  Rank rank_;
  bool ran_ = false;
  std::uint32_t position_ = 0;  // of its offer
  QueueNode queue_node_{*this};
  Work* next_done_ = nullptr;
  std::coroutine_handle<> awaiting_;
};

template <std::invocable F>
class [[nodiscard]] IdleWorker::Run final : public IdleWorker::Work {
 public:
  Run(IdleWorker& idle_worker, Rank rank, F function) noexcept
      : Work(idle_worker, rank), function_(std::move(function)) {}

 private:
  void execute() noexcept override { function_(); }

  F function_;
};

template <std::invocable F>
IdleWorker::Run<F> IdleWorker::run(Rank rank, F function) noexcept {
  return Run<F>(*this, rank, std::move(function));
}

}  // namespace sallyport::iouring
