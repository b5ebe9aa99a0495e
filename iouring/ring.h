#pragma once
// One io_uring per shard and its run loop: the only place where coroutines resume.
//
// Threads: a ring is created disabled, by any thread, and belongs to the thread that first calls
// run(): the kernel then takes submissions from no other (IORING_SETUP_SINGLE_ISSUER). Between
// creation and run() the creating thread may create what uses the ring (BufferRing,
// Listener::bind), but not await. Other threads may call only Inbox::post and busy_time(). See
// io_uring_setup(2).
//
// A loop iteration: submit and wait, dispatch the completions, fire the timers, then resume what is
// ready.
#include <pthread.h>

#include <atomic>
#include <bitset>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "iouring/restrictions.h"
#include "iouring/result.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"
#include "iouring/wake_coalescing.h"

struct io_uring;
struct io_uring_sqe;

namespace sallyport::iouring {

class FaultPlan;
class Operation;
class Inbox;

struct RingOptions {
  /// Submission queue entries; the kernel rounds up to a power of two. A full queue is submitted
  /// early.
  unsigned entries = 1024;
  /// Completion queue entries. The kernel keeps what overflows, which is slower.
  unsigned completion_entries = 8192;
  /// Slots of the registered descriptor table; 0 for none. At most the soft RLIMIT_NOFILE. Ignored
  /// on a kernel that cannot install a descriptor from the table again (before 6.8): sockets then
  /// stay ordinary.
  unsigned registered_descriptors = 0;
  /// Busy polling: how long an idle loop polls the queues before it sleeps, so that an event within
  /// that time needs no wake-up. 0: sleep at once.
  std::chrono::microseconds busy_poll{0};
  /// How long a completion may wait for others, so that one wake-up serves several, where they come
  /// quickly (wake_coalescing.h). 0, or with busy polling: never.
  std::chrono::microseconds wake_coalescing{0};
  /// The kernel refuses the ring whatever this does not need (restrictions.h).
  RingUse use = RingUse::kServe;
};

/// Why a ring could not be created: one line for the operator that names the missing feature.
struct SetupError {
  std::string what;
  int error = 0;  // errno; 0 when a feature probe failed
};

class Ring {
 public:
  /// Needs Linux 6.1 and permission to use io_uring.
  [[nodiscard]] static std::expected<std::unique_ptr<Ring>, SetupError> create(
      const RingOptions& options = {});
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  /// Everything that waited on the ring must have ended (aborts otherwise).
  ~Ring();

  /// Runs until `main` has ended, under no cancel scope. May be called again, by the same thread.
  void run(Task<void> main);

  /// The time when this loop iteration stopped waiting. Costs no clock read; precise enough for
  /// timeouts.
  [[nodiscard]] TimePoint now() const noexcept { return now_; }
  [[nodiscard]] TimerWheel& timers() noexcept { return timers_; }

  /// Whether the kernel knows the opcode.
  [[nodiscard]] bool has(Opcode opcode) const noexcept {
    return opcodes_[static_cast<std::size_t>(opcode)];
  }
  /// Size of the registered table; 0 when there is none (not asked for, or kernel before 6.8).
  [[nodiscard]] unsigned table_size() const noexcept { return table_size_; }
  /// Sockets in the table now.
  [[nodiscard]] unsigned table_used() const noexcept { return table_used_; }

  /// Time that the shard was busy: the greater of steady time spent outside the wait and the
  /// thread's CPU time (the kernel sends inside the same system call that waits), both without busy
  /// polling. Never decreases. Any thread.
  [[nodiscard]] std::chrono::nanoseconds busy_time() const noexcept;
  /// Loop iterations so far.
  [[nodiscard]] std::uint64_t iterations() const noexcept { return iterations_; }
  /// Operations whose completion is pending.
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  /// Resumes `waiter` in the ready phase of this loop iteration, or of the next one when this one's
  /// has begun.
  void make_ready(Waiter& waiter) noexcept { ready_.push_back(waiter); }

#ifdef SALLYPORT_FAULTS
  /// Tests only (faults.h): `plan` sees each submission from now on. Null to stop. Outlives its
  /// use.
  void set_faults(FaultPlan* plan) noexcept;
#endif

  // For this folder's awaitables.
  /// A cleared entry. Submits the queue first unless `count` entries are free.
  [[nodiscard]] io_uring_sqe& take_sqe(unsigned count = 1) noexcept;
  /// `sqe` is filled; its completion goes to `operation`.
  void submit(Operation& operation, io_uring_sqe& sqe) noexcept;
  /// Submits what is queued now, instead of at the start of the next iteration. Resumes nothing.
  void flush() noexcept;
  /// Requests the cancellation of `operation`, which still gets its completion.
  void submit_cancel(Operation& operation) noexcept;
  /// Closes a table slot without waiting for it; `abortive`: with a reset (RST).
  void close_slot(int slot, bool abortive) noexcept;
  void slot_taken() noexcept { ++table_used_; }
  void slot_freed() noexcept { --table_used_; }
  /// No busy polling while another thread has work for this CPU.
  void suspend_busy_poll(bool suspend) noexcept { busy_poll_suspended_ = suspend; }
  [[nodiscard]] ::io_uring& raw() noexcept { return *uring_; }
  [[nodiscard]] std::uint16_t next_buffer_group() noexcept { return next_buffer_group_++; }
  /// For Inbox: the eventfd(2) that wakes the ring, created and polled from the first call on.
  [[nodiscard]] Result<int> wake_descriptor() noexcept;
  void add_inbox(Inbox& inbox);
  void remove_inbox(Inbox& inbox) noexcept;

 private:
  struct Completion {
    std::uint64_t user_data;
    int result;
    unsigned flags;
  };
  struct Delayed {
    Completion completion;
    std::uint64_t iteration;  // deliver in this one
  };
  class MainDone;

  Ring() noexcept;
  std::expected<void, SetupError> set_up(const RingOptions& options);
  void enable() noexcept;
  void disable_thread() noexcept;
  void iterate() noexcept;
  void enter(bool wait) noexcept;
  [[nodiscard]] bool busy_poll() noexcept;
  void end_wait(TimePoint began) noexcept;
  unsigned reap() noexcept;
  void dispatch(const Completion& completion) noexcept;
  void deliver(const Completion& completion) noexcept;
  void deliver_delayed() noexcept;
  void run_ready() noexcept;
  void poll_wake_descriptor() noexcept;
  void on_wake(unsigned flags) noexcept;

  std::unique_ptr<::io_uring> uring_;
  std::bitset<256> opcodes_;
  TimePoint now_;
  TimerWheel timers_;
  List<Waiter> ready_;
  std::vector<Completion> batch_;
  std::size_t in_flight_ = 0;
  std::uint64_t iterations_ = 0;
  unsigned table_size_ = 0;
  unsigned table_used_ = 0;
  std::uint16_t next_buffer_group_ = 0;
  bool set_up_ = false;
  bool enabled_ = false;
  pthread_t owner_{};
  int wake_descriptor_ = -1;
  std::chrono::nanoseconds busy_poll_{};
  bool busy_poll_suspended_ = false;
  WakeCoalescing coalescing_;
  std::vector<Inbox*> inboxes_;
  TimePoint wait_began_{};
  TimePoint wait_ended_{};
  std::atomic<std::int64_t> outside_wait_ns_ = 0;
  std::atomic<std::int64_t> polled_ns_ = 0;
  std::atomic<std::int64_t> cpu_ns_ = 0;           // of the runs that have ended
  std::atomic<std::int64_t> cpu_start_ns_ = 0;     // the thread's CPU clock when this run began
  std::atomic<int> cpu_clock_ = 0;                 // that clock; 0 outside run()
  mutable std::atomic<std::int64_t> busy_ns_ = 0;  // the greatest busy_time() returned so far
#ifdef SALLYPORT_FAULTS
  FaultPlan* faults_ = nullptr;
  std::vector<Delayed> delayed_;
#endif
};

}  // namespace sallyport::iouring
