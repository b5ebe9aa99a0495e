#pragma once
// Long arithmetic beside a ring: done while the ring's own thread has nothing to do.
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

/// Who is served first; by arrival within a rank. So that nobody who claims the second rank keeps
/// out the third, every fourth piece of those two is one of the third.
enum class Rank : std::uint8_t { kStarted, kResuming, kNew };

/// The RLIMIT_NICE with which a thread may come back from SCHED_IDLE, which the kernel takes for
/// nice 20, to nice 0 without root's rights (getrlimit(2), sched(7)).
inline constexpr unsigned long kNiceLimit = 20;

/// A queue of pieces of work and a thread under SCHED_IDLE (sched(7)) that does them. The kernel
/// puts such a thread aside the moment that the ring's thread, on the same CPU, has something to
/// do, however far the piece has come; a nice value would not do that (EEVDF lets a slice end).
///
/// The price: whoever else keeps that CPU busy, the ring's own thread included, can keep this
/// thread from it, for seconds if need be, and a signature that is half done cannot be taken back.
/// So there is a thread only if it may come back to the ordinary class, which takes root's rights
/// or an RLIMIT_NICE of 20. When it neither begins nor ends a piece for `patience`, the ring's
/// thread takes back what was not begun and does one piece a turn, behind what the turn has sent;
/// what was begun is ended under the ordinary class. The thread is tried again after `retry`, or
/// after twice as long as last time if that went wrong soon. One piece a turn is also what a
/// IdleWorker does that has no thread; one that is quiet does half a millisecond of them.
///
/// The ring's thread waits for the other nowhere. (What both call may: an allocator's or a
/// library's lock, held by the thread when it was put aside, is waited for.)
///
/// Belongs to the ring's thread, but for the work itself. Outlives the tasks that use it.
class IdleWorker {
 public:
  struct Options {
    std::chrono::milliseconds patience{20};  ///< coarse, as TimerWheel is
    std::chrono::milliseconds retry{1000};
  };

  /// Errors: EMFILE, ENFILE (no descriptor for the bell). The ring may not run yet.
  [[nodiscard]] static Result<std::unique_ptr<IdleWorker>> create(Ring& ring,
                                                                  const Options& options);
  IdleWorker(const IdleWorker&) = delete;
  IdleWorker& operator=(const IdleWorker&) = delete;
  /// All work must have ended (aborts else). Ends the thread.
  ~IdleWorker();

  /// Starts the thread, called `name` (15 characters), which inherits the caller's CPUs and mask of
  /// signals. Errors: EAGAIN (no thread), EPERM (the way to SCHED_IDLE or the one back is
  /// forbidden); work is then done on the ring's thread.
  [[nodiscard]] Result<> start(const std::string& name);
  /// Ends the thread. All work must have ended.
  void stop() noexcept;

  /// `Result<> ran = co_await idle_worker.run(rank, [&] { ... });`: calls the function once, on
  /// either thread, never two at a time on one. It must not throw, nor touch what belongs to the
  /// ring's thread. ECANCELED when the caller's scope was cancelled before it began; once begun it
  /// is waited for.
  template <std::invocable F>
  class Run;
  template <std::invocable F>
  [[nodiscard]] Run<F> run(Rank rank, F function) noexcept;

  /// Quiet: nobody would suffer if the ring's thread did the work, so it does; as from the next
  /// run().
  void set_quiet(bool quiet) noexcept { quiet_ = quiet; }

  /// CPU time of the thread, as of the last time that it ran out of work. Any thread.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const noexcept {
    return std::chrono::nanoseconds(cpu_ns_.load(std::memory_order_relaxed));
  }
  /// Pieces that were given and have not come back.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// One piece of work, in the frame that awaits it.
  class Work;

 private:
  // Offered to the thread in advance, so that it has a next piece before it is asked: two, lest
  // what comes later and is more urgent stand behind many.
  static constexpr std::uint32_t kOffers = 2;

  struct Place : ListNode {
    explicit Place(Work& its_work) noexcept : work(&its_work) {}
    Work* work;
  };
  class Watch final : public Timer {
   public:
    explicit Watch(IdleWorker& owner) noexcept : owner_(&owner) {}
    void on_expiry() noexcept override { owner_->look_after_the_thread(); }

   private:
    IdleWorker* owner_;
  };
  class Turn final : public Waiter {
   public:
    explicit Turn(IdleWorker& owner) noexcept : owner_(&owner) {}
    void on_cancel() noexcept override {}
    void on_ready() noexcept override { owner_->work_here(); }

   private:
    IdleWorker* owner_;
  };

  IdleWorker(Ring& ring, const Options& options) noexcept
      : ring_(&ring), options_(options), hold_(options.retry) {}

  // The ring's thread.
  void enqueue(Work& work) noexcept;
  /// False: it was begun, and will come back.
  [[nodiscard]] bool take_out(Work& work) noexcept;
  [[nodiscard]] Work* next() noexcept;
  void offer() noexcept;
  [[nodiscard]] std::uint32_t progress() const noexcept;
  [[nodiscard]] bool withdraw(Work& work) noexcept;
  void collect() noexcept;
  void look_after_the_thread() noexcept;
  bool set_class(int scheduling_class) noexcept;
  void work_here() noexcept;
  void come_back_next_turn() noexcept;
  [[nodiscard]] bool here() const noexcept { return !thread_.joinable() || took_over_ || quiet_; }

  // The other thread.
  void thread_main() noexcept;
  void report(bool ring_the_bell) noexcept;

  Ring* ring_;
  Options options_;
  std::array<List<Place>, 3> queues_;
  std::size_t queued_ = 0;
  std::size_t size_ = 0;
  unsigned favoured_ = 0;  // of the second rank, since the last of the third
  std::array<Work*, kOffers> offered_work_{};
  bool quiet_ = false;
  bool took_over_ = false;
  bool hurried_ = false;  // the thread is of the ordinary class for a moment
  std::chrono::milliseconds hold_;
  TimePoint retry_at_{};    // and, once it has passed, when the thread was tried again
  std::uint32_t seen_ = 0;  // of the thread's progress
  Watch watch_{*this};
  Turn turn_{*this};
  std::unique_ptr<Inbox> inbox_;
  std::thread thread_;

  // Shared. Positions count up; the slot of one is the remainder by kOffers. An empty slot below
  // offered_ is one that was withdrawn.
  std::array<std::atomic<Work*>, kOffers> slots_{};
  std::atomic<std::uint32_t> offered_ = 0;    // written by the ring's thread
  std::atomic<std::uint32_t> taken_ = 0;      // written by the other, as is
  std::atomic<std::uint32_t> passed_by_ = 0;  // of these, done or found empty
  std::atomic<Work*> done_ = nullptr;         // newest first
  std::atomic<bool> rung_ = false;            // a message to collect() is under way
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
  void goes_on() noexcept;
  void on_cancel() noexcept override;
  void on_ready() noexcept override { awaiting_.resume(); }

  IdleWorker* idle_worker_;
  Rank rank_;
  bool ran_ = false;
  std::uint32_t position_ = 0;  // of its offer
  Place place_{*this};
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
