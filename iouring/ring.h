#pragma once
// One io_uring per shard and its run loop: the only place where coroutines resume.
//
// Threads: a ring is created disabled, by any thread, and belongs to the thread that first calls
// run(): the kernel then takes submissions from no other (IORING_SETUP_SINGLE_ISSUER). Between
// creation and run() the creating thread may build what hangs on it (BufferRing, Listener::bind),
// but not await. Only Inbox::post and busy_time() may be called from elsewhere. See
// io_uring_setup(2).
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

#include "iouring/result.h"
#include "iouring/task.h"
#include "iouring/timer_wheel.h"

struct io_uring;
struct io_uring_sqe;

namespace sallyport::iouring {

class FaultPlan;
class Operation;
class Inbox;

/// The opcodes that we use (io_uring_enter(2)), by their kernel numbers.
enum class Opcode : std::uint8_t {
  kPollAdd = 6,
  kSendMsg = 9,
  kRecvMsg = 10,
  kAccept = 13,
  kAsyncCancel = 14,
  kConnect = 16,
  kClose = 19,
  kFilesUpdate = 20,
  kSend = 26,
  kRecv = 27,
  kShutdown = 34,
  kUringCmd = 46,
  kSendMsgZeroCopy = 48,  // only as the mark of Linux 6.1
  kFixedFdInstall = 54,   // Linux 6.8
};

struct RingOptions {
  /// Submission queue entries; the kernel rounds up to a power of two. A full queue is submitted
  /// early.
  unsigned entries = 1024;
  /// Completion queue entries. Overflow is kept by the kernel, slower.
  unsigned completion_entries = 8192;
  /// Slots of the registered descriptor table; 0 for none. At most the soft RLIMIT_NOFILE. Without
  /// effect on a kernel that cannot bring a descriptor back (before 6.8): sockets then stay
  /// ordinary.
  unsigned registered_descriptors = 0;
  /// With nothing left to do, watches the queues for so long before it sleeps: the next event then
  /// finds the thread awake. 0 for never.
  std::chrono::microseconds busy_poll{0};
};

/// Why there is no ring: one line for the operator that names the missing feature.
struct SetupError {
  std::string what;
  int error = 0;  // errno, 0 when a probe said no
};

class Ring {
 public:
  /// Needs Linux 6.1 and permission to use io_uring.
  [[nodiscard]] static std::expected<std::unique_ptr<Ring>, SetupError> create(
      const RingOptions& options = {});
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  /// Everything that waited on the ring must have ended (aborts else).
  ~Ring();

  /// Runs until `main` has ended, under no cancel scope. May be called again, by the same thread.
  void run(Task<void> main);

  /// The time at the start of this turn: free to read, good for timeouts.
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

  /// Time that the shard was occupied: the greater of steady time spent outside the wait and the
  /// thread's CPU time (the kernel sends inside the same system call that waits), both without busy
  /// polling. Monotone. Any thread.
  [[nodiscard]] std::chrono::nanoseconds busy_time() const noexcept;
  [[nodiscard]] std::uint64_t iterations() const noexcept { return iterations_; }
  /// Operations whose completion is owed.
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  /// Resumes `waiter` in this turn's ready phase, or in the next turn when that has begun.
  void make_ready(Waiter& waiter) noexcept { ready_.push_back(waiter); }

#ifdef SALLYPORT_FAULTS
  /// Tests only (faults.h): judges each submission from now on. Null to stop. Must outlive its use.
  void set_faults(FaultPlan* plan) noexcept;
#endif

  // For this folder's awaitables.
  /// A cleared entry; submits when the queue is full. `count` entries in a row are then free.
  [[nodiscard]] io_uring_sqe& take_sqe(unsigned count = 1) noexcept;
  /// A filled entry whose completion `operation` awaits.
  void submit(Operation& operation, io_uring_sqe& sqe) noexcept;
  /// Submits what is queued now, instead of at the end of the turn. Nothing resumes here.
  void flush() noexcept;
  /// Asks for a cancel; the operation still gets its completion.
  void submit_cancel(Operation& operation) noexcept;
  /// Closes a table slot with nobody waiting; `abortive` resets the connection (RST) first.
  void close_slot(int slot, bool abortive) noexcept;
  void slot_taken() noexcept { ++table_used_; }
  void slot_freed() noexcept { --table_used_; }
  /// While somebody else needs this thread's CPU there is no busy polling.
  void share_cpu(bool share) noexcept { shares_cpu_ = share; }
  [[nodiscard]] ::io_uring& raw() noexcept { return *uring_; }
  [[nodiscard]] std::uint16_t next_buffer_group() noexcept { return next_buffer_group_++; }
  /// Inbox: the descriptor (eventfd(2)) that wakes the ring, polled from the first call on.
  [[nodiscard]] Result<int> bell() noexcept;
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
    std::uint64_t turn;
  };
  class MainDone;

  Ring() noexcept;
  std::expected<void, SetupError> set_up(const RingOptions& options);
  void enable() noexcept;
  void disable_thread() noexcept;
  void turn() noexcept;
  void enter(bool wait) noexcept;
  [[nodiscard]] bool poll_busily() noexcept;
  void left_wait(TimePoint entered) noexcept;
  void reap() noexcept;
  void dispatch(const Completion& completion) noexcept;
  void deliver(const Completion& completion) noexcept;
  void deliver_delayed() noexcept;
  void run_ready() noexcept;
  void arm_bell() noexcept;
  void on_bell(unsigned flags) noexcept;

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
  int bell_ = -1;
  bool bell_armed_ = false;
  std::chrono::nanoseconds busy_poll_{};
  bool shares_cpu_ = false;
  std::vector<Inbox*> inboxes_;
  TimePoint wait_ended_{};
  std::atomic<std::int64_t> outside_wait_ns_ = 0;
  std::atomic<std::int64_t> polled_ns_ = 0;
  std::atomic<std::int64_t> cpu_ns_ = 0;        // of the runs that have ended
  std::atomic<std::int64_t> cpu_start_ns_ = 0;  // the thread's CPU clock when the present run began
  std::atomic<int> cpu_clock_ = 0;              // that clock; 0 outside run()
  mutable std::atomic<std::int64_t> busy_ns_ = 0;
#ifdef SALLYPORT_FAULTS
  FaultPlan* faults_ = nullptr;
  std::vector<Delayed> delayed_;
#endif
};

}  // namespace sallyport::iouring
